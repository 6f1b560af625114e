"""`bentoml serve` as a process of its own, started and ended as a service manager does."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
BENTOML = Path(sys.executable).with_name("bentoml")
# Seconds that a busy machine may take for one thing; nothing waits so long where all is well.
PATIENCE = 120


@contextmanager
def held_port() -> Iterator[int]:
    """A port of 127.0.0.1 on which a service can listen, and which nobody else is given until the block ends.

    Linux lets one socket listen at a port to which others are bound, where all of them ask for reuse.
    """
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port: int = holder.getsockname()[1]
        if sys.platform != "linux":
            holder.close()
        yield port


@contextmanager
def serving(where: Path, environment: dict[str, str], *arguments: str, bentoml: Path = BENTOML) -> Iterator[str]:
    """Run `bentoml serve` in ``where`` until the block ends, then stop it as a service manager does; yields its URL.

    What it writes stands in ``serve.log`` there.
    """
    log = where / "serve.log"
    with held_port() as port:
        with log.open("w") as output:
            command = [bentoml, "serve", *arguments, "--port", str(port)]
            process = subprocess.Popen(command, cwd=where, env=environment, stdout=output, stderr=output)
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(url, process, log)
            yield url
            if process.poll() is None:  # a test may have ended it
                process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=PATIENCE) == 0, log.read_text()
            with pytest.raises(httpx.ConnectError):
                httpx.get(url, timeout=PATIENCE)
        finally:
            if process.poll() is None:
                kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a service at once. Its workers are sessions of their own, and outlive a parent that is killed."""
    family = psutil.Process(process.pid)
    for member in (family, *family.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it may end by itself at this moment
            member.kill()
    process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the service is ready; fail with its log where it ends or does not come up."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"the service did not become ready:\n{log.read_text()}")


def logged_in(log: Path) -> list[dict[str, Any]]:
    """graft's lines of a service's log; a last one that is being written is not there yet."""
    return [json.loads(line) for line in log.read_text().rpartition("\n")[0].splitlines() if line.startswith("{")]


def service_in(where: Path) -> psutil.Process:
    """The `bentoml serve` that this process began in ``where``, among its other children."""
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # another may end at this moment
            if Path(child.cwd()) == where.resolve() and any("bentoml" in word for word in child.cmdline()):
                return child
    raise AssertionError(f"no service runs in {where}")


def workers_in(where: Path) -> list[psutil.Process]:
    """The processes that answer for the service in ``where``, of those that have begun."""
    found = []
    for child in service_in(where).children(recursive=True):
        with suppress(psutil.Error):  # as above
            if "_bentoml_impl.worker.service" in child.cmdline():
                found.append(child)
    return found
