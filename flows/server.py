"""Which Prefect server a run typed by hand uses: the configured one if it answers, else a temporary one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flows.startup import start

start()

import httpx  # noqa: E402
from prefect.settings import (  # noqa: E402
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_HOME,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)

from flows.terminal import say  # noqa: E402

# The first temporary server of a machine takes 15 s on a quiet one, and Prefect by itself gives up after 20.
STARTUP_SECONDS = 300
# Whoever takes the connection is there, however busy: a run must not leave its server because that one pauses.
PATIENCE = httpx.Timeout(60.0, connect=10.0)


def address() -> str:
    """The configured server's; empty where there is none."""
    return PREFECT_API_URL.value() or ""


@contextmanager
def some_server() -> Iterator[None]:
    """Use the configured server if it answers, and a temporary one of this process if not.

    Prefect's heartbeats are off meanwhile: their thread holds up the end of each flow by up to a second. A run that
    dies is found by its record (flows.turn); heartbeats are for the runs of workers, whose machine may never come back.
    """
    configured = address()
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        if configured and answers(configured):
            yield
            return
        say(
            f"no Prefect server answers at {configured}: this run goes on with a temporary one"
            if configured
            else "no Prefect server is configured: this run uses a temporary one (the first takes some 15 s)"
        )
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
    """Whether a Prefect server answers there.

    Prefect's own client is not asked: it would start the thread that sends logs, with the address that is to be left.
    """
    try:
        # No secret is sent, so no certificate is needed.
        answer = httpx.get(f"{server.rstrip('/')}/health", timeout=PATIENCE, verify=False)
        return answer.is_success and answer.json() is True
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False
