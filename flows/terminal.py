"""What a flow tells whoever watches the terminal, and how a process that runs one ends."""

from __future__ import annotations

import logging
import signal
import sys

# What sends events and logs to the server warns, under these names, that it is still at it when a process ends.
_AT_THE_END = ("EventsWorker", "APILogWorker")


def say(line: str) -> None:
    """A line for whoever watches the terminal; where nobody does any more (a worker that was killed), for nobody."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        # The worker that read this process's output is gone. What the run does is worth more than what it says.
        sys.stdout = open("/dev/null", "w", encoding="utf-8")  # noqa: SIM115, PTH123


def speak_alone() -> None:
    """On the terminal graft speaks; Prefect's own account of the run goes to its server only.

    Its console would also end the process where nobody reads any more: a killed worker would take its run along.
    """
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = False


def keep_prefect_quiet() -> None:
    """The same in a process of graft's own, where Prefect says nothing but errors at all."""
    speak_alone()
    for name in ("prefect", *_AT_THE_END):
        logging.getLogger(name).setLevel(logging.ERROR)


def end_on_sigterm() -> None:
    """Have SIGTERM raise SystemExit, so that the stage's process group is ended on the way out."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: object) -> None:
    sys.exit(128 + number)
