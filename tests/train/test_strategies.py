"""Every strategy of the table: its stages, its rates, what it moves and what it leaves; and how `auto` chooses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graft.errors import ConfigError
from graft.settings import Train
from graft.train.advice import ALREADY_GOOD, FEW, MANY, RULES, SAYS_LITTLE, Evidence, advise
from graft.train.devices import fabric_for
from graft.train.finetune import finetune
from graft.train.freezing import freeze, parameter_groups
from graft.train.plan import STRATEGIES, Plan, Stage, gradual, require_strategy, staged
from graft.zoo.network import Network, build_network
from tests.train.small import CLASSES, SETTINGS, task, tiny

# With batch statistics and without, with squeeze-and-excitation, with layer norms and scales.
FAMILIES = ("shufflenet_v2_x0_5", "mobilenet_v3_small", "timm:convnext_atto")
TRAIN = Train(
    finetune_epochs=8, full_epochs=3, gradual_epochs=2, unfreeze_blocks=2, learning_rate=0.01, backbone_rate=0.1
)


def shape(plan: Plan) -> tuple[bool, list[tuple[str, int, int, float, float, bool]]]:
    stages = [(s.name, s.start, s.epochs, s.rate, round(s.backbone_rate, 9), s.fresh_statistics) for s in plan.stages]
    return plan.head_first, stages


PLANS = {
    "extract": (True, []),
    "staged": (True, [("last blocks", 2, 8, 0.01, 0.001, False), ("everything", 0, 3, 0.01, 0.001, False)]),
    "gradual": (
        True,
        [
            ("last block", 3, 2, 0.01, 0.001, False),
            ("last 2 blocks", 2, 2, 0.01, 0.001, False),
            ("last 3 blocks", 1, 2, 0.01, 0.001, False),
            ("last 4 blocks", 0, 2, 0.01, 0.001, False),
        ],
    ),
    "full": (False, [("everything", 0, 8, 0.01, 0.001, True)]),
    "scratch": (False, [("everything", 0, 11, 0.01, 0.01, True)]),
}


def test_every_strategy_has_its_plan_here() -> None:
    assert set(PLANS) == set(STRATEGIES)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_stages_of_a_strategy(name: str) -> None:
    assert shape(STRATEGIES[name].plan(4, TRAIN)) == PLANS[name]


@pytest.mark.parametrize("name", STRATEGIES)
@given(blocks=st.integers(1, 14), epochs=st.integers(0, 12), full=st.integers(0, 4), every=st.integers(1, 5))
def test_any_strategy_opens_more_and_more_from_the_end_and_keeps_its_epochs(
    name: str, blocks: int, epochs: int, full: int, every: int
) -> None:
    train = dataclasses.replace(TRAIN, finetune_epochs=epochs, full_epochs=full, gradual_epochs=every)
    plan = STRATEGIES[name].plan(blocks, train)
    starts = [stage.start for stage in plan.stages]
    assert starts == sorted(starts, reverse=True) and all(0 <= start < blocks for start in starts)
    assert len({stage.name for stage in plan.stages}) == len(plan.stages)
    total = {"extract": 0, "staged": epochs + full, "scratch": epochs + full}.get(name, epochs)
    assert sum(stage.epochs for stage in plan.stages) == total
    assert plan.head_first or plan.stages, "something is trained"


def test_gradual_leaves_the_rest_of_the_epochs_to_all_blocks_and_stops_when_none_is_left() -> None:
    assert [(stage.start, stage.epochs) for stage in gradual(2, TRAIN).stages] == [(1, 2), (0, 6)]
    few = dataclasses.replace(TRAIN, finetune_epochs=3)
    assert [(stage.start, stage.epochs) for stage in gradual(9, few).stages] == [(8, 2), (7, 1)]


def test_staged_without_epochs_is_the_head_alone() -> None:
    assert staged(4, dataclasses.replace(TRAIN, finetune_epochs=0, full_epochs=0)) == Plan(True, ())


def test_a_control_that_is_cut_short_proves_nothing() -> None:
    assert [name for name, row in STRATEGIES.items() if not row.stops_early] == ["scratch"]
    assert [name for name, row in STRATEGIES.items() if row.blank] == ["scratch"]


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_the_rate_and_decay_of_every_parameter(name: str, decay: float) -> None:
    """Against the rule said for each parameter by itself: its block's distance from the last, and its dimensions."""
    network = tiny()
    train = dataclasses.replace(TRAIN, block_decay=decay)
    for stage in STRATEGIES[name].plan(4, train).stages:
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
        for part, module in enumerate(network.units()[index])
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
    train = dataclasses.replace(
        SETTINGS, finetune_epochs=1 if name != "gradual" else 2, gradual_epochs=1, learning_rate=0.01
    )
    plan = STRATEGIES[name].plan(blocks, train)
    start = plan.stages[-1].start if plan.stages else blocks
    assert start == {"extract": blocks, "staged": blocks - 2, "gradual": blocks - 2}.get(name, 0)
    before = _frozen(network, blocks)
    trained = finetune(network, plan, task(tmp_path), train, 0, fabric_for("cpu")).network
    after = _frozen(trained, blocks)
    moved = {key for key, value in before.items() if not torch.equal(after[key], value)}
    frozen = {key for key in before if int(key.split(".")[0]) < start}
    assert moved & frozen == set()
    fresh = bool(plan.stages) and plan.stages[-1].fresh_statistics
    statistics = {key for key in before if key.endswith(("running_mean", "running_var"))} - frozen
    assert moved & statistics == (statistics if fresh else set())
    learned = {key for key in before if key.endswith(("weight", "bias", "gamma"))} - frozen
    # Where an activation lets nothing through in all of so few images, what lies before it stands still.
    assert len(learned - moved) <= 0.02 * len(learned), sorted(learned - moved)
    assert not torch.equal(trained.head.weight, network.head.weight)


def evidence(
    per_class: int = 50, probe: float | None = 0.8, curve: tuple[float, ...] = (), blocks: int = 4
) -> Evidence:
    return Evidence(per_class, 4, probe, curve, blocks)


def _score(share: float) -> float:
    """The accuracy at which a probe of four classes has this share of a perfect score above chance."""
    return 0.25 + 0.75 * share


@pytest.mark.parametrize(
    ("known", "strategy", "rule"),
    [
        (evidence(FEW - 1), "extract", "few images"),
        (evidence(FEW), "staged", "some images"),
        (evidence(MANY - 1), "staged", "some images"),
        (evidence(MANY), "full", "many images"),
        (evidence(FEW - 1, _score(SAYS_LITTLE - 0.01)), "staged", "few images, features that say little"),
        (evidence(FEW - 1, _score(SAYS_LITTLE + 0.01)), "extract", "few images"),
        (evidence(50, _score(ALREADY_GOOD + 0.001)), "extract", "features that fit"),
        (evidence(MANY, _score(ALREADY_GOOD - 0.001)), "full", "many images"),
        (evidence(FEW - 1, None), "extract", "few images"),
        (evidence(50, None), "staged", "some images"),
    ],
)
def test_auto_takes_the_rule_that_applies(known: Evidence, strategy: str, rule: str) -> None:
    advice = advise(known, Train())
    assert (advice.strategy, advice.rule, advice.chosen_by) == (strategy, rule, "auto")
    assert advice.why == next(row.why for row in RULES if row.name == rule)
    assert advice.settings(Train()).strategy == strategy


def test_every_rule_is_taken_by_some_evidence() -> None:
    known = [evidence(n, p) for n in (2, 50, 500) for p in (0.3, 0.8, 0.999)]
    taken = {advise(item, Train()).rule for item in known}
    assert taken == {rule.name for rule in RULES}
    assert {rule.strategy for rule in RULES} <= set(STRATEGIES)


def test_what_lies_behind_the_peak_of_the_depth_curve_is_retrained() -> None:
    late = (0.2, 0.5, 0.7, 0.9)
    early = (0.6, 0.5, 0.4, 0.3)
    train = Train(unfreeze_blocks=2)
    assert advise(evidence(curve=late), train).unfreeze_blocks == 2, "as many as the setting says"
    advice = advise(evidence(curve=early), train)
    assert advice.unfreeze_blocks == 3
    assert advice.why.endswith("the frozen features are best 3 blocks before the end, so these are retrained")
    assert [stage.start for stage in staged(4, advice.settings(train)).stages] == [1]
    assert advise(evidence(curve=early), Train(unfreeze_blocks=4)).unfreeze_blocks == 4


@pytest.mark.parametrize("name", STRATEGIES)
def test_auto_is_overruled_by_a_name(name: str) -> None:
    advice = advise(evidence(2), Train(strategy=name, unfreeze_blocks=3))
    assert (advice.strategy, advice.chosen_by, advice.unfreeze_blocks) == (name, "train.strategy", 3)


def test_an_unknown_strategy_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        require_strategy("stage")
    assert caught.value.message() == (
        "there is no strategy 'stage'\n  where: train.strategy\n  remedy: did you mean 'staged'?"
    )


def test_a_stage_trains_blocks_alike_unless_told_otherwise() -> None:
    assert Stage("x", 0, 1, 0.1, 0.01, False).block_decay == 1.0
