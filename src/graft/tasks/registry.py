"""The one table of tasks, and the choice by ``data.task``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graft.tasks.base import Task
from graft.tasks.classification.task import Classification

TASKS: Mapping[str, Task[Any]] = {task.name: task for task in (Classification(),)}


def task_of(name: str) -> Task[Any]:
    """The task that ``data.task`` names; ``auto`` is classification as long as there is no other kind of target."""
    return TASKS["classification" if name == "auto" else name]
