"""Clusters that were begun by hand, as docs/clusters.md says, and are found by their address."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from graft.core.errors import GraftError
from graft.core.settings import Compute
from graft.parallel.factory import mapper_for
from graft.parallel.outcomes import Done
from tests.parallel import work
from tests.ports import port_for_later
from tests.waiting import until

pytestmark = pytest.mark.slow
TOOLS = Path(sys.executable).parent
# A cluster comes up in seconds, and on a busy machine it may take minutes.
START_S = 200


@contextmanager
def typed(*command: object, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command of the environment's tools in a group of its own, which ends with the block."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    tool, *rest = command
    process = subprocess.Popen(
        [TOOLS / str(tool), *map(str, rest)],
        env={**environment, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def opens(compute: Compute) -> bool:
    try:
        with mapper_for(compute) as mapper:
            return mapper.workers == 2
    except GraftError:
        return False


def test_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers; one is killed in mid-run and begun again by its nanny; a worker with two threads is refused."""
    monkeypatch.chdir(tmp_path)
    address = f"tcp://127.0.0.1:{port_for_later()}"
    compute = Compute(mapper="dask", address=address, threads=1)
    place = ("--host", "127.0.0.1", "--no-dashboard")
    with typed("dask", "scheduler", *place, "--port", address.rpartition(":")[2]):
        with typed("dask", "worker", address, *place, "--nworkers", 2, "--nthreads", 1):
            until(lambda: opens(compute), START_S)
            items = [(number, str(tmp_path / "died")) for number in range(4)]
            with mapper_for(compute) as mapper:
                assert list(mapper.map(work.kill_own_process_once, items, "dying once")) == [
                    Done(number) for number in range(4)
                ]
        with typed("dask", "worker", address, *place, "--nworkers", 1, "--nthreads", 2):
            until(lambda: "tasks at once" in refusal(compute), START_S)


def test_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    port = port_for_later()
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    head = ("--head", "--node-ip-address", "127.0.0.1", "--port", port, "--num-cpus", 2, "--include-dashboard=false")
    with typed("ray", "start", *head, "--block", RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled"):
        script = tmp_path / "mapping.py"
        script.write_text(MAPPING)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
            "RAY_AUTH_MODE": "disabled",
        }
        found: list[str] = []

        def mapped() -> bool:
            """In a process of its own: what Ray was told before it was imported stays with a process."""
            command = [sys.executable, script, f"127.0.0.1:{port}", tmp_path / "died"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            found.append(done.stdout + done.stderr)
            return done.returncode == 0

        until(mapped, START_S)
        assert "FOUND 2 [0, 1, 2, 3]" in found[-1]


MAPPING = """
import sys
from graft.parallel.outcomes import value_of
from graft.parallel.factory import mapper_for
from graft.core.settings import Compute
from tests.parallel import work

with mapper_for(Compute(mapper="ray", address=sys.argv[1], threads=1)) as mapper:
    items = [(number, sys.argv[2]) for number in range(4)]
    print("FOUND", mapper.workers, [value_of(item) for item in mapper.map(work.kill_own_process_once, items, "dying")])
"""


def refusal(compute: Compute) -> str:
    try:
        with mapper_for(compute):
            return ""
    except GraftError as error:
        return error.message()
