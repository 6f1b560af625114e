"""Run a flow from the command line: on the configured Prefect server or a temporary one, ending in an exit code."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from prefect import State
from prefect.exceptions import FailedRun
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)

from graft.core.errors import GraftError
from graft.core.exit_code import exit_code

# The first temporary server of a machine takes 15 s on a quiet one, and Prefect by itself gives up after 20.
STARTUP_SECONDS = 300


def run_as_command(work: Callable[[], object]) -> int:
    """Do ``work`` as a command of the terminal: what stages print is shown, of Prefect's own account errors only.

    Returns:
        The exit code.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    _show_stage_output()
    return exit_code(work)


def run_flow(start: Callable[[], State[Any]]) -> State[Any]:
    """Start a flow on a server that answers, and return the state that it ended in.

    Raises:
        GraftError: it was refused, it failed, or the server went away.
    """
    with reachable_server():
        try:
            state = start()
        except httpx.TransportError as error:
            raise GraftError(
                f"the Prefect server stopped answering: {error}",
                where=PREFECT_API_URL.value(),
                remedy="run again: what stages finished is kept, and without that server a temporary one is used",
            ) from None
    if not state.is_completed():
        with contextlib.suppress(FailedRun):
            state.result()  # raises again what was not foreseen
        raise GraftError(state.message or f"the flow ended as {state.name}")
    return state


@contextmanager
def reachable_server() -> Iterator[None]:
    """Use the configured Prefect server if it answers, and a temporary one of this process if not."""
    configured = PREFECT_API_URL.value()
    if configured and answers(configured):
        yield
        return
    why = f"no Prefect server answers at {configured}" if configured else "no Prefect server is configured"
    print(f"{why}: this run uses a temporary one (the first takes some 15 s)", flush=True)
    database = PREFECT_HOME.value() / "graft-temporary.db"
    temporary = {
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: True,
        # Not that of `make server`, whose history is the team's.
        PREFECT_SERVER_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{database}",
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: STARTUP_SECONDS,
    }
    with temporary_settings(temporary, restore_defaults={PREFECT_API_URL}):
        yield


def answers(server: str) -> bool:
    """Whether a Prefect server answers there; one that takes the connection is there, however busy."""
    try:
        # No secret is sent, so no certificate is needed.
        answer = httpx.get(f"{server.rstrip('/')}/health", timeout=httpx.Timeout(60.0, connect=10.0), verify=False)
        return answer.is_success and answer.json() is True
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False


def _show_stage_output() -> None:
    """Have what stages log (records with a ``stage``) on this terminal, and nothing else of Prefect's but errors."""
    output = logging.StreamHandler(sys.stdout)
    output.addFilter(lambda record: hasattr(record, "stage"))
    output.setFormatter(logging.Formatter("[%(stage)s] %(message)s"))
    output.handleError = lambda record: None  # type: ignore[method-assign]  # `| head` ends no training
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(output)
    for name in ("prefect", "EventsWorker", "APILogWorker"):
        logging.getLogger(name).setLevel(logging.ERROR)
