"""What a process of the flows needs first.

No reports home, an import of Prefect that takes a sixth less time, and an end with the worker that started it.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys

from graft.core.process_lifetime import end_with_parent
from graft.core.telemetry import switch_off

# The process that is the worker: in the environment of all that it starts.
WORKER = "GRAFT_WORKER"


def start() -> None:
    """Switch telemetry off and import Prefect; called before any ``from prefect import ...``.

    Prefect's import makes some 500,000 objects that all stay. Looking for garbage among them on the way finds none and
    takes a sixth of the time (1.5 s of processor time became 1.3 s), so that is put off until it is done.
    """
    switch_off()
    if "prefect" in sys.modules:
        return
    was_on = gc.isenabled()
    gc.disable()
    try:
        for name in ("prefect.main", "prefect.flow_engine", "prefect.task_engine", "prefect.artifacts"):
            importlib.import_module(name)
    finally:
        if was_on:
            gc.enable()


def end_with_worker() -> None:
    """Have a worker's run end with it, however that ends; to be called once the run can be resumed by its record.

    Prefect's worker ends its runs itself where it is asked to stop, but not where it is killed, as a second Ctrl-C
    does: nobody would look after them, and the next worker resumes them. One without a record would be lost: it goes
    on to its end alone.
    """
    parent = os.getppid()
    if os.environ.get(WORKER) == str(parent):
        end_with_parent(parent)


def end_quickly() -> None:
    """Spare the interpreter a last search for garbage in all that Prefect and DVC hold: 0.3 s at a process's end."""
    gc.freeze()
