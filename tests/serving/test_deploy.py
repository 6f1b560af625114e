"""deploy/nginx.conf in Debian's nginx, in front of two real services."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from graft.core.workspace import Workspace
from tests.serving.conftest import Export, package
from tests.serving.process import PATIENCE, ROOT, held_port, service_in, serving
from tests.serving.test_faults import clean_environment
from tests.waiting import until

SLOW = 500
CUT_OFF = 10  # client_header_timeout and client_body_timeout, in seconds
# Slow clients and others come from two addresses, as the limit of connections is one for each.
SLOW_ADDRESS, OTHER_ADDRESS = "127.0.0.1", "127.0.0.2"


@dataclass(frozen=True)
class Stack:
    """nginx and the two instances behind it."""

    port: int
    projects: tuple[Workspace, ...]
    tls: ssl.SSLContext

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        transport = httpx.HTTPTransport(verify=self.tls, local_address=OTHER_ADDRESS)
        url = f"https://127.0.0.1:{self.port}"
        with httpx.Client(transport=transport, base_url=url, timeout=PATIENCE) as client:
            yield client

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE, (SLOW_ADDRESS, 0))
        return self.tls.wrap_socket(plain)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, finetuned: Path, export: Export) -> Iterator[Stack]:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin")
    if nginx is None or shutil.which("openssl") is None:
        pytest.skip("needs nginx and openssl (Debian's packages nginx and openssl)")
    folder = tmp_path_factory.mktemp("deployed")
    with ExitStack() as running:
        projects, ports = [], []
        for name in ("one", "two"):
            project = package(folder / name / "project", finetuned, export)
            shutil.copy(ROOT / "bentofile.yaml", project.root)
            url = running.enter_context(serving(project.root, clean_environment(folder / name)))
            projects.append(project)
            ports.append(int(url.rpartition(":")[2]))
        port = running.enter_context(held_port())
        running.enter_context(proxy(nginx, folder, ports, port))
        tls = ssl.create_default_context(cafile=str(folder / "fullchain.pem"))
        tls.check_hostname = False
        yield Stack(port, tuple(projects), tls)


@contextmanager
def proxy(nginx: str, folder: Path, ports: list[int], port: int) -> Iterator[None]:
    """nginx with the shipped configuration, its addresses and files replaced by the test's."""
    certificate, key = folder / "fullchain.pem", folder / "privkey.pem"
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*new, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=PATIENCE)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    for old, its in (
        ("graft-1:3000", f"127.0.0.1:{ports[0]}"),
        ("graft-2:3000", f"127.0.0.1:{ports[1]}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/nginx/tls", str(folder)),
        ("http {", f"http {{\naccess_log off;\n{temporary}"),
    ):
        assert old in text, f"nginx.conf no longer says {old!r}"
        text = text.replace(old, its)
    (folder / "nginx.conf").write_text(text)
    command = [nginx, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
    user = "user root;" if os.geteuid() == 0 else ""  # whoever runs the tests owns the folder of temporary files
    command += ["-g", f"daemon off; pid {folder}/nginx.pid; worker_rlimit_nofile 10000; {user}"]
    with (folder / "nginx.log").open("w") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        until(lambda: process.poll() is not None or is_open(port), PATIENCE)
        assert process.poll() is None, (folder / "nginx.log").read_text()
        yield
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(PATIENCE)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_pages_predictions_and_nothing_else(stack: Stack, png: bytes) -> None:
    with stack.client() as client:
        assert client.post("/predict", files={"image": png}).json()["label"]
        assert client.post("/predict_batch", files=[("image", png)] * 2).status_code == 200
        assert [client.get(path).status_code for path in ("/", "/main.js", "/model", "/readyz")] == [200] * 4
        hidden = [client.get(path) for path in ("/metrics", "/schema.json", "/made/up")]
        assert [(one.status_code, set(one.json())) for one in hidden] == [(404, {"error", "remedy"})] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "size"), [("/predict", 21 << 20), ("/predict_batch", 101 << 20), ("/feedback", 5 << 10)]
)
def test_a_body_over_the_limit_gets_413(stack: Stack, path: str, size: int) -> None:
    with stack.client() as client:
        answer = client.post(path, content=bytes(size))
    assert (answer.status_code, answer.json()["error"]) == (413, "the upload is too large")


@pytest.mark.slow
def test_slow_clients_take_nothing_from_others_and_are_cut_off(stack: Stack, png: bytes) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    starts = (b"", b"POST /pre", head, head + b"--b\r\n")
    begun = time.monotonic()
    slow = []
    for number in range(SLOW):
        slow.append(stack.connect())
        slow[-1].sendall(starts[number % len(starts)])
    with stack.client() as client:
        assert [client.post("/predict", files={"image": png}).status_code for _ in range(5)] == [200] * 5
    held = time.monotonic() - begun
    ends = Counter(answer(connection)[:12] for connection in slow)
    # Over the limit of connections from one address, or cut off in silence: nobody else.
    assert set(ends) <= {b"", b"HTTP/1.1 408", b"HTTP/1.1 429"} and ends[b"HTTP/1.1 429"] > 0
    assert time.monotonic() - begun < held + 3 * CUT_OFF


def answer(connection: ssl.SSLSocket) -> bytes:
    """What comes until the other side closes."""
    said = b""
    with connection:
        try:
            while chunk := connection.recv(1 << 16):
                said += chunk
        except (ConnectionResetError, ssl.SSLError):
            pass
    return said


@pytest.mark.slow
def test_an_instance_that_is_ended_under_load_costs_no_request(stack: Stack, png: bytes) -> None:
    """The last test: one instance is gone after it."""
    statuses: list[int] = []
    ended = threading.Event()

    def ask() -> None:
        with stack.client() as client:
            while not ended.is_set():
                statuses.append(client.post("/predict", files={"image": png}).status_code)

    def asked(count: int) -> Callable[[], bool]:
        wanted = len(statuses) + count
        return lambda: len(statuses) >= wanted

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for one in clients:
        one.start()
    until(asked(80), PATIENCE)
    instance = service_in(stack.projects[0].root)
    instance.send_signal(signal.SIGTERM)
    instance.wait(PATIENCE)
    until(asked(80), PATIENCE)
    ended.set()
    for one in clients:
        one.join()
    assert Counter(statuses) == {200: len(statuses)}


def test_compose_file_names_the_instances_of_the_proxy() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    instances = set(compose["services"]) - {"proxy"}
    assert instances and all(f"server {name}:3000" in text for name in instances)
    assert set(compose["services"]["proxy"]["depends_on"]) == instances
