"""A toy project per test, and one Prefect server for the session's flows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.flows.toy import Toy, make_toy
from tests.ports import port_for_later


@pytest.fixture(params=["git", "no scm"])
def any_toy(tmp_path: Path, request: pytest.FixtureRequest) -> Toy:
    """A toy project in a git checkout, and one without, both at a path with a space."""
    return make_toy(tmp_path / "toy project", request.param)


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """A toy project without git."""
    return make_toy(tmp_path / "toy project", "no scm")


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A temporary Prefect server and database for all flows of the session."""
    import httpx
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    # Prefect gives a server up that pauses for five seconds while it begins, and a port that others may take meanwhile.
    patient = SimpleNamespace(**{**vars(httpx), "Client": partial(httpx.Client, timeout=60)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prefect.server.api.server.httpx", patient)
        patch.setattr("prefect.testing.utilities._find_available_port", port_for_later)
        # Each flow's end waits up to a second for its heartbeat thread.
        with (
            prefect_test_harness(server_startup_timeout=300),
            temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
        ):
            yield
