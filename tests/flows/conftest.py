"""A toy project per test, and one Prefect server for the session's flows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.toy import Toy, make_toy


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
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    # Each flow's end waits up to a second for its heartbeat thread.
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield
