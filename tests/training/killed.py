"""A fine-tuning in a process of its own that kills itself with SIGKILL at a given moment, or runs to its end."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.core.files import sha256
from graft.inference.artifact import read_artifact

PRELOADED = [
    "lightning_fabric",
    "sklearn.linear_model",
    "tests.training.small",
    "graft.training.finetune",
    "graft.core.compat.torchvision",
]


@dataclass(frozen=True)
class Case:
    """What is trained, in which folder: ``kept`` there has the checkpoints, ``model`` the end, if it comes.

    ``solve``: whether the head is fitted first, where the strategy says so.
    """

    folder: Path
    arch: str
    strategy: str
    policy: str
    changes: dict[str, Any]
    solve: bool = False

    @property
    def weights(self) -> str:
        """The sha256 of the final weights."""
        return sha256(self.folder / "model" / "model.safetensors")

    @property
    def epochs(self) -> int:
        """How many epochs blocks were trained in."""
        return int(str(read_artifact(self.folder / "model").provenance["epochs"]))


@dataclass(frozen=True)
class Moment:
    """``at``, counted from 0, of one kind of thing that a training does; see :func:`_moments`."""

    kind: str
    at: int


def run(case: Case, moment: Moment | None = None, after: float | None = None) -> int:
    """Train in a new process, and return how that ended: 0, or -9 where it was killed.

    Without a ``moment`` it is not ended by itself; with ``after`` it is killed from outside after so many seconds.
    The process is forked from one that has imported torch already: a start takes tenths of a second.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=work, args=(case, moment))
    process.start()
    process.join(after)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode is not None
    return process.exitcode


def work(case: Case, moment: Moment | None) -> None:
    """The training; runs in the new process."""
    import torch

    from graft.core.determinism import make_deterministic
    from graft.inference.artifact import Artifact, save_artifact
    from graft.models.zoo.registry import build_network
    from graft.training.checkpoint import CheckpointStore
    from graft.training.compute.devices import fabric_for
    from graft.training.finetune import TrainingRun, finetune
    from graft.training.strategies import STRATEGIES
    from tests.training import small

    make_deterministic(1)
    if moment is not None:
        _plant(moment)
    settings = dataclasses.replace(small.SETTINGS, **case.changes)
    chosen = STRATEGIES[case.strategy]
    torch.manual_seed(0)
    network = build_network(case.arch, small.CLASSES, size=small.SIZE)
    task = small.task(case.folder, case.policy)
    kept = CheckpointStore(case.folder / "kept", seconds=0.0)
    plan = chosen.plan(len(network.blocks), settings)
    plan = dataclasses.replace(plan, head_first=plan.head_first and case.solve)
    trained = finetune(network, plan, task, TrainingRun(settings, 0, fabric_for("cpu"), kept))
    epochs = {"epochs": trained.epochs}
    artifact = Artifact(("a", "b", "c"), case.arch, "none", None, task.extractor.preprocessing, provenance=epochs)
    save_artifact(case.folder / "model", artifact, trained.network)


def _moments() -> dict[str, tuple[Any, str]]:
    """What can be counted: a step, a fit of the head, a checkpoint that is written and not yet in its place."""
    from graft.training import finetune
    from graft.training.trainer import Trainer

    return {"step": (Trainer, "_descend"), "head": (finetune, "solve_head"), "half written": (Path, "replace")}


def _plant(moment: Moment) -> None:
    owner, name = _moments()[moment.kind]
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counted(*given: Any, **options: Any) -> Any:
        nonlocal calls
        if moment.kind == "half written" and given[0].suffix != ".part":
            return real(*given, **options)
        if calls == moment.at:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1
        return real(*given, **options)

    setattr(owner, name, counted)
