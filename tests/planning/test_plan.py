"""The plan: what a time limit leaves out, in which order, what it never touches, and when it is refused."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.core.config import parse_params
from graft.core.errors import ConfigError
from graft.core.settings import Params
from graft.planning.estimate import FIXED, MODEL, PROOF, Work, expected
from graft.planning.plan import REDUCTIONS, make_plan, with_values
from graft.planning.rates import Rates

RATES = Rates(forward=0.02, frozen=0.01, finetune=0.03, scratch=0.06, augment=0.005)
WORK = Work(train=200, test=100, rates=(RATES, RATES), control=RATES)


def settings(**keys: object) -> Params:
    return parse_params({"data": {"source": "x"}, **keys}, "test")


def test_without_a_limit_nothing_is_left_out() -> None:
    params = settings(preset="best")
    plan = make_plan(params, WORK, 20.0, ())
    assert plan.params == params and plan.left_out == () and plan.budgets == {}
    assert set(plan.seconds) == set(FIXED) == {*MODEL, *PROOF}


def test_seconds_are_those_of_the_formula() -> None:
    """By hand: two finalists, two folds of 160 images, 10 epochs, 6 views; a control of 150 steps at 32 images."""
    seconds = expected(settings(preset="balanced"), WORK)
    fit = 6 * (0.005 + 0.01) + 10 * 0.03
    assert seconds["select"] == pytest.approx(9 + 200 * (0.04 + 0.02 + 8 * 4e-4) + 2 * 2 * 160 * fit)
    assert seconds["finetune"] == pytest.approx(6 + 200 * 0.02 + 200 * fit)
    assert seconds["control"] == pytest.approx(6 + 1.5 * settings().train.control_steps * 32 * 0.065)
    assert seconds["score"] == pytest.approx(12 + 100 * 0.02)
    quick = expected(settings(preset="quick"), WORK)
    assert quick["select"] == pytest.approx(9 + 200 * (0.04 + 0.02 + 8 * 4e-4)) and quick["control"] == 1.0


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=lambda row: row.says)
def test_every_reduction_makes_the_best_preset_quicker(reduction: object) -> None:
    params = settings(preset="best", tune={"trials": 5})
    smaller = with_values(params, reduction.values)  # type: ignore[attr-defined]
    assert smaller != params
    assert sum(expected(smaller, WORK).values()) < sum(expected(params, WORK).values())


@given(st.floats(0.5, 60), st.floats(0, 30), st.sampled_from(["quick", "balanced", "best"]))
def test_a_plan_keeps_its_limit_or_is_refused(minutes: float, before: float, preset: str) -> None:
    params = settings(preset=preset, time_limit=minutes)
    try:
        plan = make_plan(params, WORK, before, ())
    except ConfigError as error:
        least = with_values(params, {key: value for row in REDUCTIONS for key, value in row.values.items()})
        assert before + sum(expected(least, WORK).values()) > 60 * minutes
        assert error.where == "time_limit"
        return
    assert before + sum(plan.seconds.values()) <= 60 * minutes + 1e-6
    assert sum(plan.budgets.values()) == pytest.approx(60 * minutes - before)
    assert all(plan.budgets[stage] >= seconds - 1e-9 for stage, seconds in plan.seconds.items())


def test_what_is_left_out_goes_by_the_order_of_the_table() -> None:
    """The tighter the limit, the more rows are left out, and never a later one before an earlier one that helps."""
    lengths = []
    for minutes in (600.0, 20.0, 10.0, 6.0, 4.0, 3.0, 2.0):
        plan = make_plan(settings(preset="best", time_limit=minutes), WORK, 10.0, ())
        order = [row.says for row in REDUCTIONS]
        assert list(plan.left_out) == [says for says in order if says in plan.left_out]
        lengths.append(len(plan.left_out))
    assert lengths == sorted(lengths) and lengths[0] == 0 and lengths[-1] >= 4


def test_what_the_user_set_is_not_touched() -> None:
    params = settings(preset="balanced", time_limit=2.0, select={"finalists": 2}, train={"control": True})
    chosen = {"select.finalists", "train.control"}
    with pytest.raises(ConfigError, match="the time limit cannot be kept"):
        make_plan(params, WORK, 10.0, chosen)
    plan = make_plan(params, WORK, 10.0, ())
    assert not plan.params.train.control


def test_a_limit_that_not_even_the_least_keeps_says_what_it_would_take() -> None:
    with pytest.raises(ConfigError) as caught:
        make_plan(settings(preset="quick", time_limit=0.5), WORK, 20.0, ())
    assert "the least that can be done takes about 2 min, of which 20 s are spent on the data" in caught.value.what
    assert caught.value.remedy is not None and "set it to 1.7 minutes or more" in caught.value.remedy


def test_the_same_settings_give_the_same_plan() -> None:
    params = settings(preset="balanced", time_limit=5.0)
    assert make_plan(params, WORK, 10.0, ()) == make_plan(dataclasses.replace(params), WORK, 10.0, ())
