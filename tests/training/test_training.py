"""Training: what is frozen stays, what is trained moves, and the same seed gives the same bytes."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from graft.augmentation.policy_config import build_policy, default_policies
from graft.core.errors import TrainingError
from graft.core.settings import Train
from graft.features.cache import ArrayCache
from graft.features.extraction import Extractor, frozen_part
from graft.models.backbone import BackboneParts, Network, Pool
from graft.models.zoo.registry import build_network, builder_for
from graft.tasks.registry import CLASSIFICATION
from graft.training.compute.devices import fabric_for
from graft.training.finetune import FineTuningData, TrainingRun, finetune
from graft.training.inputs import Augmented, CachedActivations
from graft.training.linear_head import solve_head
from graft.training.logits import logits_of
from graft.training.strategies import STRATEGIES, Stage
from graft.training.strategies import finetune_plan as finetune_plan
from graft.training.trainer import StageData, random_batches
from tests.training.small import fit_stage

CLASSES, SIZE, COUNT = 3, 32, 24
SETTINGS = dataclasses.replace(Train(), epochs=2, batch_size=8, learning_rate=0.003, label_smoothing=0.0)
ARCHS = ("resnet18", "mobilenet_v3_small", "timm:tf_efficientnet_lite0")


def _network(arch: str) -> Network:
    torch.manual_seed(0)
    return tiny() if arch == "tiny" else build_network(arch, CLASSES)


def tiny() -> Network:
    """Four blocks with all that matters for freezing: convolution, batch normalisation, and dropout in the neck."""
    channels = (3, 8, 8, 16, 16)
    blocks = tuple(
        nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU())
        for a, b in itertools.pairwise(channels)
    )
    return Network(BackboneParts(blocks, nn.Sequential(Pool("NCHW"), nn.Dropout(0.1)), 16, "NCHW"), CLASSES)


@pytest.fixture
def labels() -> np.ndarray:
    return np.arange(COUNT) % CLASSES


@pytest.fixture
def extractor(tmp_path: Path, labels: np.ndarray) -> Extractor:
    """Noise with a coloured corner that tells the class."""
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (COUNT, SIZE, SIZE, 3)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:16, :16, label] = 250
    preprocessing = builder_for("resnet18").preprocessing("resnet18", SIZE)
    return Extractor(images, "tiny", preprocessing, ArrayCache(tmp_path), torch.device("cpu"))


def batch_of(given: Augmented, indices: torch.Tensor, epoch: int) -> torch.Tensor:
    """The inputs of one batch by itself."""
    ((inputs, _),) = given.batches([(indices, epoch)], torch.zeros(COUNT, dtype=torch.long))
    return inputs


def _rows(count: int = COUNT) -> np.ndarray:
    return np.ones(count, dtype=bool)


def _state(network: Network, units: range) -> dict[str, torch.Tensor]:
    return {
        f"{index}.{part}.{name}": value.clone()
        for index in units
        for part, module in enumerate(network.layer_groups()[index])
        for name, value in module.state_dict().items()
    }


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize(("unfrozen", "fresh"), [(0, False), (2, False), (2, True)])
def test_frozen_parameters_and_buffers_stay_and_others_move(
    arch: str, unfrozen: int, fresh: bool, extractor: Extractor, labels: np.ndarray
) -> None:
    network = _network(arch)
    blocks = len(network.blocks)
    start = blocks - unfrozen
    stage = Stage("some", start, 1, 0.01, 0.01, fresh_statistics=fresh)
    frozen, moving = _state(network, range(start)), _state(network, range(start, blocks))
    head = network.head.weight.clone()
    inputs = CachedActivations(extractor.activations(network, start, _rows()))
    fit_stage(network, stage, StageData(inputs, torch.from_numpy(labels)), SETTINGS)
    after = {**_state(network, range(start)), **_state(network, range(start, blocks))}
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
    assert not torch.equal(network.head.weight, head)
    moved = {name for name, value in moving.items() if not torch.equal(after[name], value)}
    statistics = {name for name in moving if name.endswith(("running_mean", "running_var"))}
    assert {name for name in moving if name.endswith(("weight", "bias"))} <= moved
    assert moved & statistics == (statistics if fresh else set())


def test_loss_starts_near_the_logarithm_of_the_classes(extractor: Extractor, labels: np.ndarray) -> None:
    """Where no head is solved first."""
    task = FineTuningData(extractor, labels, _rows())
    plan = STRATEGIES["scratch"].plan(4, SETTINGS)
    curve = finetune(_network("tiny"), plan, task, TrainingRun(SETTINGS, 0, fabric_for("cpu"))).curve
    assert curve[0].train_loss == pytest.approx(math.log(CLASSES), abs=0.5)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_is_the_logistic_regression_of_its_features(classes: int) -> None:
    """Against scikit-learn's own probabilities on the same standardised features."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.preprocessing import StandardScaler

    from graft.tasks.classification.probes import FOLDS
    from graft.training.linear_head import STRENGTHS

    random = np.random.default_rng(0)
    labels = np.arange(60) % classes
    features = random.normal(size=(60, 8)) * 5 + 3
    features[:, 0] += 4 * labels
    head = nn.Linear(8, classes)
    loss = solve_head(CLASSIFICATION, head, torch.from_numpy(features).float(), labels)
    scaled = StandardScaler().fit_transform(features)
    oracle = LogisticRegressionCV(
        Cs=STRENGTHS, l1_ratios=(0,), cv=FOLDS, scoring="neg_log_loss", max_iter=500, use_legacy_attributes=False
    ).fit(scaled, labels)
    with torch.no_grad():
        got = torch.softmax(head(torch.from_numpy(features).float()), dim=1).numpy()
    wanted = oracle.predict_proba(scaled)
    np.testing.assert_allclose(got, wanted, atol=2e-3)
    assert loss == pytest.approx(-np.log(wanted[np.arange(60), labels]).mean(), abs=2e-3)


def test_the_head_of_one_image_a_class() -> None:
    head = nn.Linear(2, 3)
    solve_head(CLASSIFICATION, head, torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.arange(3))
    with torch.no_grad():
        assert head(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).argmax(1).tolist() == [0, 1, 2]


def test_one_batch_is_learned_by_heart(extractor: Extractor, labels: np.ndarray) -> None:
    network = _network("tiny")
    settings = dataclasses.replace(SETTINGS, batch_size=COUNT, label_smoothing=0.0)
    stage = Stage("everything", 0, 60, 0.02, 0.02, True)
    inputs = CachedActivations(extractor.activations(network, 0, _rows()))
    points = fit_stage(network, stage, StageData(inputs, torch.from_numpy(labels)), settings)
    assert points[-1].train_loss < 0.05


def test_training_from_the_boundary_is_training_through_the_frozen_part(
    extractor: Extractor, labels: np.ndarray
) -> None:
    """Kept activations give the same losses as running the frozen part in every step."""
    stage = Stage("last blocks", 2, 2, 0.01, 0.001, False)
    curves = []
    for kind in ("kept", "run"):
        network = _network("tiny")
        if kind == "kept":
            inputs = CachedActivations(extractor.activations(network, 2, _rows()))
        else:
            frozen = frozen_part(network, 2).eval()
            policy = build_policy(default_policies("none"), SIZE)
            inputs = Augmented(
                extractor.images,
                np.arange(COUNT),
                policy,
                extractor.preprocessing,
                frozen,
                0,
                torch.device("cpu"),
                CLASSES,
            )
        points = fit_stage(network, stage, StageData(inputs, torch.from_numpy(labels)), SETTINGS)
        curves.append([point.train_loss for point in points])
    assert curves[0] == pytest.approx(curves[1], abs=1e-5)


@pytest.mark.parametrize("policy", [None, "light"])
def test_same_seed_same_bytes(policy: str | None, extractor: Extractor, labels: np.ndarray) -> None:
    states = []
    for seed in (1, 1, 2):
        built = build_policy(default_policies(policy), SIZE) if policy else None
        task = FineTuningData(extractor, labels, _rows(), built)
        network = finetune(
            _network("tiny"), finetune_plan(4, SETTINGS), task, TrainingRun(SETTINGS, seed, fabric_for("cpu"))
        ).network
        states.append(network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["head.weight"], states[2]["head.weight"])


def test_finetune_leaves_its_network_alone(extractor: Extractor, labels: np.ndarray) -> None:
    network = _network("tiny")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    finetune(
        network,
        finetune_plan(4, SETTINGS),
        FineTuningData(extractor, labels, _rows()),
        TrainingRun(SETTINGS, 0, fabric_for("cpu")),
    )
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_loss_that_is_not_finite_stops_with_its_place(extractor: Extractor, labels: np.ndarray) -> None:
    network = _network("tiny")
    with torch.no_grad():
        network.head.weight.fill_(math.inf)
    inputs = CachedActivations(extractor.activations(network, 4, _rows()))
    stage = Stage("head", 4, 1, 0.01, 0.0, False)
    with pytest.raises(TrainingError, match=r"the loss is nan in stage 'head', epoch 0, step 0"):
        fit_stage(network, stage, StageData(inputs, torch.from_numpy(labels)), SETTINGS)


@pytest.mark.parametrize(("count", "size"), [(1, 32), (33, 32), (64, 32), (5, 2), (97, 32)])
def test_batches_cover_all_and_none_is_a_lone_straggler(count: int, size: int) -> None:
    parts = list(random_batches(count, size, 0, "x"))
    assert sorted(torch.cat(parts).tolist()) == list(range(count))
    assert max(map(len, parts)) <= size
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("policy", ["standard", "augmix"])
def test_what_is_made_of_an_image_depends_on_no_number_of_threads(policy: str, extractor: Extractor) -> None:
    """Each image is varied under its own seed."""
    made = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            built = build_policy(default_policies(policy), SIZE)
            inputs = Augmented(
                extractor.images,
                np.arange(COUNT),
                built,
                extractor.preprocessing,
                nn.Identity(),
                0,
                torch.device("cpu"),
                CLASSES,
            )
            batch = torch.tensor([3, 1, 2])
            made.append(batch_of(inputs, batch, 1))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(made[0], made[1]) and torch.equal(made[0], made[2])


def test_a_frozen_part_that_runs_in_every_step_stays_as_it_is(extractor: Extractor, labels: np.ndarray) -> None:
    """With augmentation it runs: neither are its batch statistics learned, nor does its dropout hide anything."""
    network = _network("tiny")
    network.blocks[0].append(nn.Dropout(0.9))
    frozen = frozen_part(network, 2).eval()
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    built = build_policy(default_policies("light"), SIZE)
    inputs = Augmented(
        extractor.images, np.arange(COUNT), built, extractor.preprocessing, frozen, 0, torch.device("cpu"), CLASSES
    )
    indices = torch.arange(6)
    wanted = batch_of(inputs, indices, 0)
    seen: list[torch.Tensor] = []
    stage = Stage("some", 2, 1, 0.01, 0.01, fresh_statistics=True)
    data = StageData(inputs, torch.from_numpy(labels))
    fit_stage(network, stage, data, SETTINGS, lambda run: seen.append(batch_of(inputs, indices, 0)))
    assert len(seen) == 3 and all(torch.equal(value, wanted) for value in seen)
    assert all(torch.equal(frozen.state_dict()[name], value) for name, value in before.items())


class Counting(nn.Module):
    """Says of each input what its first value is, and notes how many come together."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(x))
        return x.flatten(1)[:, :1]


@pytest.mark.parametrize(("shape", "largest"), [((300, 512), 256), ((30, 3, 224, 224), 27), ((9, 64, 512, 512), 4)])
def test_large_inputs_are_looked_at_a_few_at_a_time(shape: tuple[int, ...], largest: int) -> None:
    """In the order they came, all of them."""
    inputs = torch.arange(float(shape[0])).view(-1, *[1] * (len(shape) - 1)).expand(shape)  # takes no memory
    counting = Counting()
    assert logits_of(counting, inputs)[:, 0].tolist() == list(range(shape[0]))
    assert max(counting.seen) == largest and sum(counting.seen) == shape[0]
