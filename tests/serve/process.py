"""`bentoml serve` as a process of its own, started and ended as a service manager does."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
BENTOML = Path(sys.executable).with_name("bentoml")


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(where: Path, environment: dict[str, str], *arguments: str, bentoml: Path = BENTOML) -> Iterator[str]:
    """Run `bentoml serve` in ``where`` until the block ends, then stop it as a service manager does; yields its URL.

    What it writes stands in ``serve.log`` there.
    """
    port = free_port()
    log = where / "serve.log"
    with log.open("w") as output:
        command = [bentoml, "serve", *arguments, "--port", str(port)]
        process = subprocess.Popen(command, cwd=where, env=environment, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process, log)
        yield url
        if process.poll() is None:  # a test may have ended it
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0, log.read_text()
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)
    finally:
        if process.poll() is None:
            # Workers are sessions of their own, and outlive a parent that is killed.
            family = psutil.Process(process.pid)
            for member in (family, *family.children(recursive=True)):
                member.kill()
            process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the service is ready; fail with its log where it ends or does not come up."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the service did not become ready:\n{log.read_text()}")
