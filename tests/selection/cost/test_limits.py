"""Limits are held against what would be served, and where nothing fits the message names the nearest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.core.errors import ConfigError
from graft.core.settings import Params, Select
from graft.features.cache import ArrayCache
from graft.pipeline.inputs.selection import selection_inputs
from graft.selection.cost.limits import LIMITS, excesses, refuse_none
from graft.selection.inputs import TrainSet
from graft.selection.report.names import name_of
from graft.selection.selection import run_selection
from tests.selection.conftest import SMALL, planted


def test_every_limit_is_a_setting_and_every_such_setting_a_limit() -> None:
    named = {field.name for field in dataclasses.fields(Select) if field.name.startswith("max_")}
    assert {limit.setting for limit in LIMITS} == named
    assert all(getattr(Select(), name) is None for name in named)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("max_params_m", "1 million parameters, 0.5 more than select.max_params_m (0.5) allows"),
        ("max_memory_mb", "10 MB, 9.5 more than select.max_memory_mb (0.5) allows"),
        ("max_latency_ms", "1.5 ms for one image, 1 more than select.max_latency_ms (0.5) allows"),
    ],
)
def test_each_limit_says_by_how_much(setting: str, said: str) -> None:
    found = excesses(planted("a", 0.9, 1.0, latency=1.5), Select(**{setting: 0.5}))
    assert [str(item) for item in found] == [said]
    assert excesses(planted("a", 0.9, 1.0, latency=1.5), Select(**{setting: 100.0})) == ()


def test_exactly_the_limit_fits() -> None:
    assert excesses(planted("a", 0.9, 1.0), Select(max_params_m=1.0)) == ()


def test_where_nothing_fits_the_nearest_is_named() -> None:
    limits = Select(max_params_m=0.4, max_latency_ms=0.9)
    results = [planted("far", 0.9, 1.0, latency=9.0), planted("near", 0.5, 1.0, latency=1.0)]
    results = [dataclasses.replace(item, excess=excesses(item, limits)) for item in results]
    with pytest.raises(ConfigError) as caught:
        refuse_none(results, name_of)
    assert str(caught.value) == (
        "no candidate fits the limits; the nearest is near (none, 32 px): 1 million parameters, 0.6 more than "
        "select.max_params_m (0.4) allows; 1 ms for one image, 0.1 more than select.max_latency_ms (0.9) allows\n"
        "  where: select\n"
        "  remedy: set select.max_params_m to 1, select.max_latency_ms to 1, or add a smaller candidate to "
        "zoo.candidates"
    )
    refuse_none([*results, planted("fits", 0.1, 1.0)], name_of)


def test_a_network_that_fits_when_cut_is_judged_as_it_would_be_served(
    task: TrainSet, store: ArrayCache, asked: Callable[..., Params], tmp_path: Path
) -> None:
    """The whole network has 0.34 million parameters, cut after its second block 0.03; the larger one cannot win."""
    params = asked({**SMALL, "depth": 1}, {**SMALL, "depth": "last"}, max_params_m=0.1, finalists=2)
    contest = run_selection(selection_inputs(task, params, tmp_path, store), lambda line: None)
    cut, whole = contest.results
    assert not cut.excess and cut.whole is not None and cut.whole.params_m > 0.1
    assert [item.setting for item in whole.excess] == ["max_params_m"]
    assert contest.winner is cut and not whole.finetuned


def test_a_selection_of_which_nothing_fits_is_refused(
    task: TrainSet, store: ArrayCache, asked: Callable[..., Params], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"no candidate fits the limits; the nearest is shufflenet_v2_x0_5"):
        run_selection(selection_inputs(task, asked(SMALL, max_memory_mb=0.01), tmp_path, store), lambda line: None)
