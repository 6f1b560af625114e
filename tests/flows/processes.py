"""Real processes for tests: a Prefect server on a free port, and whether a process is over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.ports import port_for_later
from tests.waiting import until


def ended(pid: int) -> bool:
    """Whether a process is over within a minute; the kill of a group is not awaited by who sends it.

    A container's first process may never collect its orphans: one that waits for that is over too.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False


@contextmanager
def prefect_server(environment: dict[str, str], log: Path, port: int | None = None) -> Iterator[str]:
    """A real server on loopback; yields its address once it answers."""
    port = port or port_for_later()
    prefect = str(Path(sys.executable).with_name("prefect"))
    with log.open("wb") as output:
        command = [prefect, "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            address = f"http://127.0.0.1:{port}/api"
            wait_for(address, server)
            yield address
        finally:
            with suppress(ProcessLookupError):  # the test has killed it
                os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def port_of(address: str) -> int:
    """The port in a server's address."""
    return int(address.split(":")[2].split("/")[0])


def kill_listener(address: str) -> None:
    """Kill -9 whatever listens there, with the processes that would start it anew."""
    port = port_of(address)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(item.laddr.port == port and item.status == "LISTEN" for item in process.net_connections()):
                process.kill()
                process.wait(60)


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=60):
                return True
        except OSError:
            return False

    until(answers, 300)
