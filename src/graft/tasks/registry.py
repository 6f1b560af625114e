"""The one table of tasks, and the choice by ``data.task``."""

from __future__ import annotations

from graft.core.errors import ConfigError, did_you_mean
from graft.tasks.base import Task
from graft.tasks.classification.task import Classification

CLASSIFICATION = Classification()
TASKS: dict[str, Task] = {task.name: task for task in (CLASSIFICATION,)}


def find_task(name: str) -> Task:
    """The task that ``data.task`` names; ``auto`` is classification as long as there is no other kind of target.

    Raises:
        ConfigError: there is no such task.
    """
    found = CLASSIFICATION if name == "auto" else TASKS.get(name)
    if found is None:
        raise ConfigError(f"there is no task {name!r}", where="data.task", remedy=did_you_mean(name, ["auto", *TASKS]))
    return found
