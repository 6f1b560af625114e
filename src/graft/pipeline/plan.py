"""Stage `plan`: what the preset and the time limit come to on this machine, laid down before the work starts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from graft.core.config import keys_set
from graft.core.files import atomic_dir, write_json
from graft.core.progress import rough_duration
from graft.core.settings import Candidate, Params
from graft.core.workspace import Workspace, user_cache
from graft.pipeline.execution.runner import run_stage
from graft.pipeline.inputs.planned import PLAN_FILE, settings_by_stage

if TYPE_CHECKING:
    from graft.planning.estimate import Work
    from graft.planning.plan import RunPlan

# Seconds of the stages before this one where nobody has timed them.
_BEFORE = 20.0
# The side that is reckoned with where a candidate does not say its own, in pixels.
_USUAL_SIZE = 224


def run(params: Params, workspace: Workspace) -> None:
    """Write plan.json, and a file for each stage that is planned, into reports/plan.

    Rates are measured where a limit has to be kept, or where so much work follows that some seconds do not matter;
    else the plan holds no seconds.

    Raises:
        ConfigError: the time limit cannot be kept.
    """
    from graft.planning.plan import RunPlan, make_plan

    work = work_of(params, workspace)
    before = seconds_before(workspace)
    plan = RunPlan(params, {}) if work is None else make_plan(params, work, before, keys_set(workspace.params))
    with atomic_dir(workspace.plan) as folder:
        write_json(folder / PLAN_FILE, to_json(plan, params))
        for stage, settings in settings_by_stage(plan.params).items():
            budget = plan.budgets.get(stage)
            write_json(folder / f"{stage}.json", {"settings": settings, "budget_s": budget and round(budget)})
    limit = "" if params.time_limit is None else f", at most {rough_duration(60 * params.time_limit)} in all"
    print(f"plan: preset {params.preset}{limit}: {plan.in_words() or 'nobody has timed these networks here yet'}")
    for left_out in plan.left_out:
        print(f"plan: left out, for there is no time: {left_out}")


def work_of(params: Params, workspace: Workspace) -> Work | None:
    """What there is to do; None where nobody knows how fast the networks are here."""
    import pandas as pd

    from graft.augmentation.auto_policy import with_candidates
    from graft.planning.estimate import Work

    splits = pd.read_parquet(workspace.splits, columns=["split"])["split"]
    candidates = with_candidates(params, workspace.augmentation).zoo.candidates
    pretrained = [one for one in candidates if one.weights != "none"] or list(candidates)
    measure = params.time_limit is not None or params.preset != "quick"
    rates = [rates_at(one, one.size or _USUAL_SIZE, params, measure) for one in pretrained]
    largest = max(pretrained, key=lambda one: one.size or _USUAL_SIZE)
    side = min(params.train.control_size or largest.size or _USUAL_SIZE, largest.size or _USUAL_SIZE)
    control = rates_at(largest, side, params, measure)
    known = [one for one in rates if one is not None]
    if control is None or len(known) < len(rates):
        return None
    blank = len(candidates) - len(pretrained)
    return Work(int((splits == "train").sum()), int((splits == "test").sum()), known, control, blank)


def rates_at(candidate: Candidate, size: int, params: Params, measure: bool) -> Any:
    """See :func:`graft.planning.rates.rates_of`; kept for all projects of this user."""
    from graft.planning.rates import rates_of

    return rates_of(candidate, size, params.train, user_cache(), measure=measure)


def seconds_before(workspace: Workspace) -> float:
    """What the stages before this one took when they last ran."""
    from graft.pipeline.execution.timing import read_timings

    known = [row.seconds for name, row in read_timings(workspace).items() if name in BEFORE]
    return sum(known) if known else _BEFORE


BEFORE = ("locate", "ingest", "validate", "split", "augment", "gather", "pretrain")


def to_json(plan: RunPlan, params: Params) -> dict[str, Any]:
    """What plan.json holds."""
    return {
        "preset": params.preset,
        "time_limit_min": params.time_limit,
        "expected_s": {stage: round(seconds, 1) for stage, seconds in plan.seconds.items()},
        "left_out": list(plan.left_out),
        "settings": {name: dataclasses.asdict(getattr(plan.params, name)) for name in ("select", "train", "tune")},
    }


if __name__ == "__main__":
    raise SystemExit(run_stage("plan", run))
