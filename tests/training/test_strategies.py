"""Every strategy of the table: its stages, its rates, what it moves and what it leaves; and how `auto` chooses."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graft.core.errors import ConfigError
from graft.core.settings import Train
from graft.models.backbone import Network
from graft.models.zoo.registry import build_network
from graft.training.auto_strategy import StrategyChoice, choose_strategy, strategies_to_try
from graft.training.compute.devices import fabric_for
from graft.training.finetune import TrainingRun, finetune, interpolate_with_start
from graft.training.freezing import freeze, parameter_groups
from graft.training.strategies import STRATEGIES, Plan, Stage, require_strategy
from tests.training.small import CLASSES, SETTINGS, task, tiny

# With batch statistics and without, with squeeze-and-excitation, with layer norms and scales.
FAMILIES = ("shufflenet_v2_x0_5", "mobilenet_v3_small", "timm:convnext_atto")
TRAIN = Train(epochs=8, unfreeze=0.5, learning_rate=0.01, backbone_lr_ratio=0.1)


PLANS = {
    "extract": Plan(True, None),
    "finetune": Plan(True, Stage("fine-tuning", 2, 8, 0.01, 0.001, False, 0.75)),
    "wise_ft": Plan(True, Stage("fine-tuning", 2, 8, 0.01, 0.001, False, 0.75)),
    "scratch": Plan(False, Stage("from scratch", 0, 8, 0.01, 0.01, True)),
}


def test_every_strategy_has_its_plan_here() -> None:
    assert set(PLANS) == set(STRATEGIES)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_plan_of_a_strategy(name: str) -> None:
    assert STRATEGIES[name].plan(4, TRAIN) == PLANS[name]


@given(blocks=st.integers(1, 40), share=st.floats(0.01, 1.0))
def test_a_share_of_the_blocks_is_trained_whatever_their_number(blocks: int, share: float) -> None:
    plan = STRATEGIES["finetune"].plan(blocks, dataclasses.replace(TRAIN, unfreeze=share))
    assert plan.stage is not None
    trained = blocks - plan.stage.start
    assert 1 <= trained <= blocks
    assert share * blocks <= trained + 1e-9 and trained < share * blocks + 1


def test_fine_tuning_without_epochs_is_the_head_alone() -> None:
    assert STRATEGIES["finetune"].plan(4, dataclasses.replace(TRAIN, epochs=0)) == Plan(True, None)


def test_only_the_control_starts_from_random_weights() -> None:
    assert [name for name, row in STRATEGIES.items() if row.blank] == ["scratch"]


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_the_rate_and_decay_of_every_parameter(name: str, decay: float) -> None:
    """Against the rule said for each parameter by itself: its block's distance from the last, and its dimensions."""
    network = tiny()
    train = dataclasses.replace(TRAIN, layer_decay=decay)
    stage = STRATEGIES[name].plan(4, train).stage
    if stage is not None:
        groups = parameter_groups(network, stage, 0.05)
        got = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
        assert sum(len(group["params"]) for group in groups) == len(got), "no parameter is in two groups"
        wanted = {id(p): (0.01, 0.05 if p.ndim > 1 else 0.0) for p in network.head.parameters()}
        falls = 1.0 if name == "scratch" else decay
        peak = 0.01 if name == "scratch" else 0.001
        for index in range(stage.start, 4):
            for p in network.blocks[index].parameters():
                wanted[id(p)] = (pytest.approx(peak * falls ** (3 - index)), 0.05 if p.ndim > 1 else 0.0)  # type: ignore[assignment]
        assert got == wanted
        freeze(network, stage)
        assert set(got) == {id(p) for p in network.parameters() if p.requires_grad}
        if decay == 1.0:
            assert len(groups) == 4, "blocks with one rate share a group"


def _frozen(network: Network, before: int) -> dict[str, torch.Tensor]:
    return {name: value.clone() for index in range(before) for name, value in _unit(network, index).items()}


def _unit(network: Network, index: int) -> dict[str, torch.Tensor]:
    return {
        f"{index}.{part}.{name}": value
        for part, module in enumerate(network.layer_groups()[index])
        for name, value in module.state_dict().items()
    }


@pytest.mark.parametrize("arch", FAMILIES)
@pytest.mark.parametrize("name", STRATEGIES)
def test_what_is_frozen_stays_with_its_buffers_and_the_rest_moves(name: str, arch: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network(arch, CLASSES, size=32)
    for key, value in network.state_dict().items():
        if key.endswith("gamma"):
            # Layer scales begin at 1e-6: what comes through them moves a weight of 1 by less than float32 can tell.
            value.fill_(1.0)
    blocks = len(network.blocks)
    train = dataclasses.replace(SETTINGS, epochs=1, learning_rate=0.01, backbone_lr_ratio=0.1, unfreeze=0.4)
    plan = STRATEGIES[name].plan(blocks, train)
    start = blocks if plan.start is None else plan.start
    tuned = blocks - math.ceil(0.4 * blocks)
    assert start == {"extract": blocks, "finetune": tuned, "wise_ft": tuned, "scratch": 0}[name]
    before = _frozen(network, blocks)
    trained = finetune(network, plan, task(tmp_path), TrainingRun(train, 0, fabric_for("cpu"))).network
    after = _frozen(trained, blocks)
    moved = {key for key, value in before.items() if not torch.equal(after[key], value)}
    frozen = {key for key in before if int(key.split(".")[0]) < start}
    assert moved & frozen == set()
    fresh = plan.stage is not None and plan.stage.fresh_statistics
    statistics = {key for key in before if key.endswith(("running_mean", "running_var"))} - frozen
    assert moved & statistics == (statistics if fresh else set())
    learned = {key for key in before if key.endswith(("weight", "bias", "gamma"))} - frozen
    # Where an activation lets nothing through in all of so few images, what lies before it stands still.
    assert len(learned - moved) <= 0.02 * len(learned), sorted(learned - moved)
    assert not torch.equal(trained.head.weight, network.head.weight)


SCORES = {"extract": (0.8, 0.7), "finetune": (0.9, 0.8)}


@pytest.mark.parametrize(
    ("scores", "strategy", "why"),
    [
        (SCORES, "finetune", "the best mean over the folds: head alone 0.750, fine-tuned 0.850"),
        (
            {"extract": (0.9, 0.8), "finetune": (0.8, 0.7)},
            "extract",
            "better on the folds: head alone 0.850, fine-tuned 0.750",
        ),
        (
            {"extract": (0.8, 0.8), "finetune": (0.9, 0.7)},
            "finetune",
            "the best mean over the folds: head alone 0.800, fine-tuned 0.800",
        ),
        (
            {"extract": (0.8, 0.7), "wise_ft": (0.9, 0.8), "finetune": (0.9, 0.8)},
            "wise_ft",
            "the best mean over the folds: head alone 0.750, between first and last weights 0.850, fine-tuned 0.850",
        ),
        ({"extract": (1.0, 1.0)}, "extract", "the head alone scored 1.000, and nothing else was tried"),
        ({}, "finetune", "nothing was tried on the folds"),
    ],
)
def test_auto_delivers_the_best_that_trains_blocks_unless_the_head_is_shown_to_be_better(
    scores: dict[str, tuple[float, ...]], strategy: str, why: str
) -> None:
    assert choose_strategy(Train(), "bundled", scores) == StrategyChoice(strategy, "auto", why)


def test_the_head_alone_is_delivered_only_where_more_than_chance_speaks_for_it() -> None:
    """Ahead on d of m images and behind on none, the difference is d/m and its error sqrt(d/m (1 - d/m) / m)."""
    scores = {"extract": (0.9, 0.9), "wise_ft": (0.8, 0.8)}
    for ahead, delivered in ((3, "wise_ft"), (4, "extract")):
        right = {"extract": np.ones(40, bool), "wise_ft": np.arange(40) >= ahead}
        share = ahead / 40
        assert (share > 2 * np.sqrt(share * (1 - share) / 40)) == (delivered == "extract")
        found = choose_strategy(Train(), "bundled", scores, right=right)
        assert found.strategy == delivered
        assert ("by more than chance" in found.why) == (delivered == "extract")
        assert ("may be ahead by chance" in found.why) == (delivered == "wise_ft")


@pytest.mark.parametrize("name", STRATEGIES)
def test_auto_is_overruled_by_a_name(name: str) -> None:
    train = Train(strategy=name)
    assert strategies_to_try(train, "bundled", 0.5, 3) == (name,)
    assert choose_strategy(train, "bundled", SCORES) == StrategyChoice(name, "train.strategy", "the settings name it")


@pytest.mark.parametrize("name", ["auto", *STRATEGIES])
def test_without_weights_there_is_nothing_to_transfer(name: str) -> None:
    train = Train(strategy=name)
    assert strategies_to_try(train, "none", 0.5, 3) == ("scratch",)
    assert choose_strategy(train, "none", {}).strategy == "scratch"


@pytest.mark.parametrize(
    ("probe", "classes", "tried"),
    [
        (None, 2, ("extract", "wise_ft", "finetune")),
        (0.5, 2, ("extract", "wise_ft", "finetune")),
        (0.99, 2, ("extract", "wise_ft", "finetune")),
        (1.0, 2, ("extract",)),
        (1.0, 1, ("extract", "wise_ft", "finetune")),
    ],
)
def test_fine_tuning_is_not_tried_where_it_could_not_be_shown_to_gain(
    probe: float | None, classes: int, tried: tuple[str, ...]
) -> None:
    assert strategies_to_try(Train(), "bundled", probe, classes) == tried
    assert strategies_to_try(Train(epochs=0), "bundled", probe, classes) == ("extract",)


def test_the_mean_is_that_of_the_first_and_the_last_weights_of_one_training(tmp_path: Path) -> None:
    network = build_network("shufflenet_v2_x0_5", CLASSES, size=32)
    settings = dataclasses.replace(SETTINGS, epochs=1, unfreeze=0.5)
    plans = {name: STRATEGIES[name].plan(len(network.blocks), settings) for name in ("extract", "finetune")}
    run = TrainingRun(settings, 0, fabric_for("cpu"))
    trained = finetune(network, plans["finetune"], task(tmp_path), run)
    assert trained.start is not None
    first, last = trained.start.state_dict(), trained.network.state_dict()
    backbone = {name: value for name, value in network.state_dict().items() if not name.startswith("head.")}
    assert all(torch.equal(first[name], value) for name, value in backbone.items()), "as it was pretrained"
    mean = interpolate_with_start(trained)
    for name, value in mean.network.state_dict().items():
        wanted = 0.3 * first[name] + 0.7 * last[name] if value.is_floating_point() else last[name]
        torch.testing.assert_close(value, wanted)
    assert not torch.equal(mean.network.head.weight, last["head.weight"]), "the head moved"
    assert mean.epochs == 1 and mean.curve == trained.curve
    head = finetune(network, plans["extract"], task(tmp_path), run)
    assert head.start is None and interpolate_with_start(head) is head, "where no blocks are trained"


def test_an_unknown_strategy_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        require_strategy("finetuned")
    assert caught.value.message() == (
        "there is no strategy 'finetuned'\n  where: train.strategy\n  remedy: did you mean 'finetune'?"
    )


@pytest.mark.parametrize("name", ["staged", "gradual", "full"])
def test_a_strategy_of_before_is_refused_with_what_does_the_same(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_strategy(name)
    assert caught.value.message() == (
        f"there is no strategy {name!r} any more\n  where: train.strategy\n"
        "  remedy: write `finetune`; `train.unfreeze` says which share of the blocks it trains"
    )


def test_a_stage_trains_blocks_alike_unless_told_otherwise() -> None:
    assert Stage("x", 0, 1, 0.1, 0.01, False).layer_decay == 1.0
