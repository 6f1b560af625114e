"""Part of the stage `finetune`: learning curves that can be looked at while it runs, through DVCLive.

They lie in reports/live, which is no output of the stage: DVC would remove it at the start and look at it at the end.
There is a table for each, and the newest figures in metrics.json.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graft.core.workspace import Workspace

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from graft.training.trainer import EpochLoss


@dataclass(frozen=True)
class Curves:
    """The curves of several trainings, each under its own name; ``log`` is DVCLive's, or None where nobody writes."""

    log: Any | None

    def of(self, name: str) -> Callable[[EpochLoss], None]:
        """What is told of every epoch of the training ``name``: its mean loss in nats."""

        def report(point: EpochLoss) -> None:
            if self.log is None:
                return
            self.log.log_metric(f"{name}/train_loss", point.train_loss)
            self.log.next_step()

        return report


@contextmanager
def live(workspace: Workspace, fabric: Fabric, epochs: int) -> Iterator[Curves]:
    """Curves that are written while they grow, by the first process; those of an earlier run are removed."""
    if fabric.is_global_zero and not epochs:
        shutil.rmtree(workspace.live, ignore_errors=True)
    if not fabric.is_global_zero or not epochs:
        yield Curves(None)
        return
    from dvclive import Live

    with Live(str(workspace.live), save_dvc_exp=False, dvcyaml=None) as log:
        yield Curves(log)
