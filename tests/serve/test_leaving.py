"""The end of the service: who was let in at its port is answered, and nobody is let in who could not be."""

from __future__ import annotations

import shutil
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from graft.serve.leaving import shut_for_newcomers
from graft.workspace import Workspace
from tests.serve.process import ON_ITS_WAY, PATIENCE, ROOT, service_in, serving
from tests.waiting import until

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can shut a port for newcomers alone")


@linux
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_is_shut_lets_nobody_else_in_and_keeps_who_waits(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        try:
            listener.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        listener.listen(16)
        address = listener.getsockname()[:2]
        waiting = [socket.create_connection(address, timeout=PATIENCE) for _ in range(3)]
        assert shut_for_newcomers(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection(address, timeout=0.3)
        for number, sender in enumerate(waiting):
            sender.sendall(b"%d" % number)
        for number, sender in enumerate(waiting):
            taken, _ = listener.accept()
            with taken, sender:
                assert taken.recv(10) == b"%d" % number
                taken.sendall(b"answer")
                assert sender.recv(10) == b"answer"


def test_what_cannot_be_shut_is_left_as_it_is(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen(1)
        assert not shut_for_newcomers(listener)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sender:
            sender.connect(str(tmp_path / "socket"))


@linux
@pytest.mark.slow
def test_told_to_end_it_answers_every_connection_that_the_system_let_in(
    project: Workspace, environment: dict[str, str]
) -> None:
    shutil.copy(ROOT / "bentofile.yaml", project.root)
    ends: list[str] = []  # a list, for several threads add to it

    def come_and_come(port: int) -> None:
        while True:
            begun = time.monotonic()
            try:
                connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            except OSError:
                return  # refused: nobody said that it was in
            with connection:
                with suppress(OSError):
                    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                has_rested = time.monotonic() - begun > ON_ITS_WAY
                try:
                    said = connection.recv(100)
                except OSError as error:
                    said = repr(error).encode()
            if said.startswith(b"HTTP/1.1 200"):
                ends.append("answered")
            elif not has_rested:  # who came and said nothing for so long may be left
                ends.append(repr(said))

    with serving(project.root, environment) as url:
        port = int(url.rpartition(":")[2])
        senders = [threading.Thread(target=come_and_come, args=(port,)) for _ in range(8)]
        for sender in senders:
            sender.start()
        until(lambda: len(ends) > 8)
        service = service_in(project.root)
        service.send_signal(signal.SIGTERM)
        for sender in senders:
            sender.join()
        assert service.wait(PATIENCE) == 0
    assert set(ends) == {"answered"}
