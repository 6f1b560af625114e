"""What every stage does around its work: read params.yaml, keep others out, turn errors into one message."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from graft.core.compat.malloc import keep_freed_memory
from graft.core.compat.openmp import variables_for, wait_briefly
from graft.core.compat.processes import end_with_parent
from graft.core.config import load_params
from graft.core.exit_code import exit_code
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.pipeline.execution.outputs import StageOutputs
from graft.pipeline.execution.stage_progress import end_message
from graft.pipeline.execution.timing import timed

Work = Callable[[Params, Workspace], None]
# Which process started the stage: set by python.sh, which runs seconds before Linux can be asked here.
PARENT = "GRAFT_PARENT"


def run_stage(name: str, work: Work, *, uses_torch: bool = False) -> int:
    """Run one stage in the current folder and return its exit code (see :func:`graft.core.errors.exit_code`).

    Args:
        name: the stage's name in dvc.yaml, for messages.
        work: the stage.
        uses_torch: fix threads and kernels first (importing torch takes seconds, so only where it is used).
    """
    parent = os.environ.pop(PARENT, None)
    end_with_parent(int(parent) if parent else None)
    wait_briefly()
    keep_freed_memory()
    workspace = Workspace()

    def locked() -> None:
        params = load_params(workspace.params)
        if params.compute.threads is not None:
            os.environ.update(variables_for(params.compute.threads))
        from graft.metrics.scorer import scorer
        from graft.tasks.registry import find_task
        from graft.training.compute.devices import require_device

        scorer(params.metric, find_task(params.data.task).metrics)
        # By whichever stage comes first: some work for hours before one of them needs the device.
        require_device(params.compute.device)
        with locked_for(workspace, name):
            if uses_torch:
                from graft.core.determinism import make_deterministic

                make_deterministic(params.compute.threads)
            with timed(workspace, name), _protected(StageOutputs(name, workspace.root)):
                work(params, workspace)
            print(end_message(workspace, name), flush=True)

    return exit_code(locked)


# What neither reads what `control` makes nor makes what it reads: these stages may run beside it.
BESIDE_CONTROL = frozenset({"tune", "finetune", "score", "package"})


@contextmanager
def locked_for(workspace: Workspace, stage: str) -> Iterator[None]:
    """Hold the locks of a stage: one stage runs at a time, but for `control`, beside which some others may."""
    with contextlib.ExitStack() as held:
        if stage != "control":
            held.enter_context(exclusively(workspace.lock, stage))
        if stage not in BESIDE_CONTROL:
            held.enter_context(exclusively(workspace.control_lock, stage))
        yield


@contextmanager
def _protected(outputs: StageOutputs) -> Iterator[None]:
    """Begin only where nothing of the user's would be replaced; note what was written, also by a failure."""
    outputs.protect()
    try:
        yield
    finally:
        outputs.written()


@contextmanager
def exclusively(lock: Path, name: str) -> Iterator[None]:
    """Hold the workspace's lock; wait for whoever holds it, and say who that is.

    DVC has a lock of its own, but a killed ``dvc repro`` can leave its stage running: without this one, a second
    run would write the same files at the same time. The lock goes with its process, however that ends.
    """
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    holder = lock.with_suffix(".json")
    guard = FileLock(lock)
    try:
        guard.acquire(timeout=0)
    except Timeout:
        print(f"{name}: waiting, because {_describe(holder)} in this folder", file=sys.stderr, flush=True)
        guard.acquire()
    try:
        holder.write_text(json.dumps({"stage": name, "pid": os.getpid(), "since": time.time()}), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        guard.release()


def _describe(holder: Path) -> str:
    try:
        known = json.loads(holder.read_text(encoding="utf-8"))
        minutes = (time.time() - known["since"]) / 60
        return f"the stage {known['stage']!r} (process {known['pid']}, for {minutes:.0f} min) is still running"
    except (OSError, ValueError, KeyError, TypeError):
        return "another stage is still running"
