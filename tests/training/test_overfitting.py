"""What holds training back: each setting does what it says, and by default none of the newer ones does anything."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from graft.tasks.registry import CLASSIFICATION
from graft.training.compute.devices import fabric_for
from graft.training.ema import ema_decay_at
from graft.training.finetune import TrainingRun, finetune, with_dropout
from graft.training.imbalance import IMBALANCE, balanced_sampling, class_weights
from graft.training.inputs import CachedActivations
from graft.training.linear_head import solve_head
from graft.training.logits import logits_of
from graft.training.strategies import Stage
from graft.training.strategies import finetune_plan as finetune_plan
from graft.training.trainer import StageData, random_batches
from tests.training.small import CLASSES, COUNT, LABELS, SETTINGS, digest, fit_stage, task, tiny

EVERYTHING = Stage("everything", 0, 2, 0.01, 0.01, True)


def everything(tmp_path: Path) -> StageData:
    what = task(tmp_path)
    return StageData(CachedActivations(what.extractor.activations(tiny(), 0, what.rows)), torch.from_numpy(LABELS))


@pytest.mark.parametrize(
    "change",
    [{"dropout": 0.5}, {"grad_clip_norm": 0.01}, {"ema_decay": 0.9}, {"imbalance": "sampling"}, {"layer_decay": 0.5}],
)
def test_each_setting_changes_what_comes_out(change: dict[str, object], tmp_path: Path) -> None:
    what = task(tmp_path)
    outs = []
    for settings in (SETTINGS, dataclasses.replace(SETTINGS, **change)):  # type: ignore[arg-type]
        outs.append(
            digest(
                finetune(tiny(), finetune_plan(4, settings), what, TrainingRun(settings, 0, fabric_for("cpu"))).network
            )
        )
    assert outs[0] != outs[1]


def test_dropout_hides_its_share_of_the_features_from_the_head_while_training_only() -> None:
    seen: list[torch.Tensor] = []
    head = nn.Linear(1000, 2)
    head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    tail = with_dropout(nn.Sequential(nn.Identity(), head), 0.3)
    torch.manual_seed(0)
    tail(torch.ones(20, 1000))
    hidden = (seen[0] == 0).float().mean()
    assert float(hidden) == pytest.approx(0.3, abs=0.02)
    assert torch.allclose(seen[0][seen[0] > 0], torch.tensor(1 / 0.7)), "what is left is scaled up"
    assert torch.equal(logits_of(tail, torch.ones(2, 1000)), head(torch.ones(2, 1000)).detach())
    plain = nn.Sequential(nn.Identity(), head)
    assert with_dropout(plain, 0.0) is plain


def test_dropout_is_no_part_of_the_network_that_is_kept(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, dropout=0.5)
    trained = finetune(
        tiny(), finetune_plan(4, settings), task(tmp_path), TrainingRun(settings, 0, fabric_for("cpu"))
    ).network
    assert list(trained.state_dict()) == list(tiny().state_dict())


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_gradients_are_no_longer_than_the_norm_that_is_set(clip: float | None, tmp_path: Path) -> None:
    network = tiny()
    norms: list[float] = []

    def measure(run: object) -> None:
        grads = [p.grad for p in network.parameters() if p.grad is not None]
        norms.append(float(torch.cat([grad.flatten() for grad in grads]).norm()))

    settings = dataclasses.replace(SETTINGS, grad_clip_norm=clip)
    fit_stage(network, EVERYTHING, everything(tmp_path), settings, measure)
    assert len(norms) == 6
    assert min(norms) > 0.01 if clip is None else max(norms) == pytest.approx(1e-3, rel=1e-3)


def test_the_average_is_that_of_the_formula(tmp_path: Path) -> None:
    """Against the recursion, done here in double precision over the weights after each step."""
    network = tiny()
    seen: list[dict[str, torch.Tensor]] = []

    def note(run: object) -> None:
        seen.append({name: value.double().clone() for name, value in network.state_dict().items()})

    settings = dataclasses.replace(SETTINGS, ema_decay=0.25)
    fit_stage(network, EVERYTHING, everything(tmp_path), settings, note)
    average = seen[0]
    for steps, weights in enumerate(seen[1:], start=1):
        share = min(0.25, (1 + steps) / (10 + steps))
        average = {name: share * average[name] + (1 - share) * weights[name] for name in average}
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value.double(), average[name], atol=1e-6), name
            if name.endswith(("weight", "running_mean")):
                assert not torch.allclose(value.double(), seen[-1][name], atol=1e-7), name


@given(steps=st.integers(0, 10**6), decay=st.floats(0.01, 0.9999))
def test_early_steps_count_for_more_in_the_average(steps: int, decay: float) -> None:
    assert 0 < ema_decay_at(steps, decay) <= decay
    assert ema_decay_at(steps, decay) <= ema_decay_at(steps + 1, decay)
    assert ema_decay_at(10**7, decay) == decay


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_weights_and_chances_even_the_classes_out(labels: list[int]) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    given_labels, present = torch.tensor(labels), sorted(set(labels))
    weights = class_weights(given_labels, 5)
    oracle = compute_class_weight("balanced", classes=np.array(present), y=np.array(labels))
    # scikit-learn knows of the classes that have images only.
    assert weights[present].tolist() == pytest.approx((oracle * len(present) / 5).tolist())
    assert all(weights[label] == 0 for label in range(5) if label not in present)
    chances = balanced_sampling(given_labels, 5)
    of_class = torch.zeros(5, dtype=torch.double).index_add(0, given_labels, chances)
    assert of_class[present].tolist() == pytest.approx([1 / len(present)] * len(present))


def test_every_way_of_the_setting_has_a_row() -> None:
    assert set(IMBALANCE) == {"none", "loss", "sampling"}
    labels = torch.tensor([0, 0, 1])
    made = {name: [way(labels, 2) is not None for way in row] for name, row in IMBALANCE.items()}
    assert made == {"none": [False, False], "loss": [True, False], "sampling": [False, True]}


def test_drawn_batches_have_as_many_of_each_class_on_average() -> None:
    labels = torch.tensor([0] * 90 + [1] * 10)
    drawn = torch.cat(
        [torch.cat(list(random_batches(100, 32, seed, chances=balanced_sampling(labels, 2)))) for seed in range(50)]
    )
    assert len(drawn) == 5000
    assert float(labels[drawn].float().mean()) == pytest.approx(0.5, abs=0.03)
    again = list(random_batches(100, 32, 3, chances=balanced_sampling(labels, 2)))
    assert all(
        torch.equal(a, b)
        for a, b in zip(again, random_batches(100, 32, 3, chances=balanced_sampling(labels, 2)), strict=True)
    )


@pytest.mark.parametrize(("imbalance", "wanted"), [("none", 0.75), ("loss", 0.5), ("sampling", 0.5)])
def test_what_a_head_says_that_sees_nothing(imbalance: str, wanted: float) -> None:
    """Where all features are alike, the best that can be said is how frequent the classes are, or are made to be."""
    labels = torch.tensor([0] * 90 + [1] * 30)
    head = nn.Linear(16, CLASSES)  # the third class has no image
    network = tiny()
    network.head = head
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    settings = dataclasses.replace(SETTINGS, imbalance=imbalance, batch_size=60, weight_decay=0.0)
    stage = Stage("head", 4, 60, 0.2, 0.0, False)
    some = StageData(CachedActivations(torch.zeros(120, 16)), labels)
    fit_stage(network, stage, some, settings)
    assert float(torch.softmax(head(torch.zeros(16)), dim=0)[0].detach()) == pytest.approx(wanted, abs=0.05)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_weighted_loss_is_that_of_the_formula(smoothing: float, tmp_path: Path) -> None:
    """For a network that stands still, ``sum_i l_i / sum_i w_y(i)``, as in PyTorch's documentation, in numpy."""
    labels = np.array([0] * 12 + [1] * 8 + [2] * 4)
    what = task(tmp_path)
    network = tiny().eval()
    inputs = what.extractor.activations(network, 4, what.rows)
    still = Stage("still", 4, 1, 0.0, 0.0, False)
    settings = dataclasses.replace(SETTINGS, imbalance="loss", batch_size=COUNT, label_smoothing=smoothing)
    some = StageData(CachedActivations(inputs), torch.from_numpy(labels))
    points = fit_stage(network, still, some, settings)
    logits = logits_of(network.head, inputs).double().numpy()
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    weights = COUNT / (CLASSES * np.array([12, 8, 4]))
    plain = -(weights[labels] * log_p[np.arange(COUNT), labels]).sum()
    smooth = -(weights * log_p).sum() / CLASSES
    wanted = ((1 - smoothing) * plain + smoothing * smooth) / weights[labels].sum()
    assert points[0].train_loss == pytest.approx(wanted, abs=1e-5)


def test_a_solved_head_is_evened_out_by_weights() -> None:
    """Two overlapping classes, one of them nine times as frequent: only with weights is the rare one found."""
    random = np.random.default_rng(0)
    labels = np.array([0] * 180 + [1] * 20)
    features = torch.from_numpy(random.normal(size=(200, 2)) + labels[:, None] * 1.0).float()
    recalls = []
    for balanced in (False, True):
        head = nn.Linear(2, 2)
        solve_head(CLASSIFICATION, head, features, labels, balanced)
        with torch.no_grad():
            recalls.append(float((head(features).argmax(1)[180:] == 1).float().mean()))
    assert recalls[0] < 0.5 < recalls[1]
