"""A flow that somebody types: on the configured server or a temporary one, ending in one message and an exit code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flows.startup import end_quickly, start

start()

from prefect import State  # noqa: E402

from flows.server import some_server  # noqa: E402
from flows.terminal import end_on_sigterm, keep_prefect_quiet, say  # noqa: E402
from graft.core.errors import GraftError, exit_code  # noqa: E402


def as_command(work: Callable[[], object]) -> int:
    """Do ``work`` as a command of the terminal; returns the exit code."""
    end_on_sigterm()
    keep_prefect_quiet()
    code = exit_code(work)
    end_quickly()
    return code


def run(started: Callable[[], State[Any]]) -> State[Any]:
    """Start a flow, print what came of it, and return the state that it ended in.

    Raises:
        GraftError: it was refused, or failed.
    """
    with some_server():
        state = started()
    if not state.is_completed():
        raise GraftError(state.message or f"the flow ended as {state.name}")
    say(state.message or "")
    return state
