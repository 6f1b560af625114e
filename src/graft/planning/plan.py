"""The plan: the settings of the preset, with what is left out so that a time limit is kept, and seconds by stage.

To leave out something else, add a row to :data:`REDUCTIONS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from graft.core.errors import ConfigError
from graft.core.progress import rough_duration
from graft.core.settings import Params
from graft.planning.estimate import Work, expected


@dataclass(frozen=True)
class Reduction:
    """Something that can be left out.

    Attributes:
        says: what is left out, in words.
        values: keys of params.yaml and the values that leave it out.
    """

    says: str
    values: Mapping[str, Any]


# In the order in which it is left out: what is worth least for its time first, what the user came for last.
REDUCTIONS: tuple[Reduction, ...] = (
    Reduction("the control in folds", {"train.control_seeds": 0}),
    Reduction("the search for better settings", {"tune.trials": 0}),
    Reduction("the control at full size", {"train.control_size": 64, "train.control_steps": 150}),
    Reduction("fine-tuning in more than two folds", {"select.finetune_folds": 2}),
    Reduction("all finalists but one", {"select.finalists": 1}),
    Reduction("the control", {"train.control": False}),
    Reduction("fine-tuning", {"train.strategy": "extract"}),
)


@dataclass(frozen=True)
class RunPlan:
    """What will be done.

    Attributes:
        params: the settings.
        seconds: expected by stage; empty where nothing is known of the networks' speed.
        left_out: what the time limit left out, in words.
        budgets: the most seconds that a stage may take, by its name; empty without a limit.
    """

    params: Params
    seconds: Mapping[str, float]
    left_out: tuple[str, ...] = ()
    budgets: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def in_words(self) -> str:
        """``select 40 s, fine-tune 2 min, ...``."""
        long = {stage: seconds for stage, seconds in self.seconds.items() if seconds >= 2}
        return ", ".join(f"{stage} {rough_duration(seconds)}" for stage, seconds in long.items())


def make_plan(params: Params, work: Work, before: float, chosen: Collection[str]) -> RunPlan:
    """The settings as they are without a limit; with one, less of them until they fit into it.

    Args:
        params: as the preset and the user have them.
        work: what there is to do.
        before: seconds that the stages before this one took.
        chosen: dotted keys that the user set, which are never changed.

    Raises:
        ConfigError: the limit cannot be kept.
    """
    if params.time_limit is None:
        return RunPlan(params, expected(params, work))
    limit, left_out, reduced = 60 * params.time_limit, list[str](), params
    for reduction in REDUCTIONS:
        if before + sum(expected(reduced, work).values()) <= limit:
            break
        values = {key: value for key, value in reduction.values.items() if key not in chosen}
        smaller = with_values(reduced, values)
        if sum(expected(smaller, work).values()) < sum(expected(reduced, work).values()):
            reduced = smaller
            left_out.append(reduction.says)
    seconds = expected(reduced, work)
    needed = before + sum(seconds.values())
    if needed > limit:
        raise ConfigError(
            f"the time limit cannot be kept: the least that can be done takes about {rough_duration(needed)}, of which "
            f"{rough_duration(before)} are spent on the data",
            where="time_limit",
            remedy=f"set it to {needed / 60 * 1.1:.2g} minutes or more, name smaller candidates in zoo.candidates, or "
            "remove keys of your own that ask for more (`graft presets` lists what a preset sets)",
        )
    spare = (limit - before) / sum(seconds.values())
    return RunPlan(reduced, seconds, tuple(left_out), {stage: value * spare for stage, value in seconds.items()})


def with_values(params: Params, values: Mapping[str, Any]) -> Params:
    """The settings with other values of dotted keys, where those ask for less."""
    for key, value in values.items():
        section, _, name = key.partition(".")
        old = getattr(params, section)
        if _is_less(value, getattr(old, name)):
            params = dataclasses.replace(params, **{section: dataclasses.replace(old, **{name: value})})
    return params


def _is_less(value: Any, old: Any) -> bool:
    """Whether a value asks for less than another: smaller numbers, of which None is the greatest; other words."""
    if isinstance(value, bool | str):
        return bool(value != old)
    return old is None or value < old
