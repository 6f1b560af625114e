"""What a client does with a service that is busy, failing, elsewhere, or none: a scripted server on loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from graft.client import Client, Prediction
from graft.core.errors import DataError, ServiceError

SAID = {
    "label": "bee",
    "probabilities": {"bee": 0.9, "ant": 0.1},
    "unsure": False,
    "novelty": 0.5,
    "model": {"name": "graft", "version": "0" * 12},
    "id": "ab12",
}


@dataclass
class Scripted:
    """A server that gives the answers it is told to, one after the other, the last for ever, and keeps the requests."""

    answers: list[tuple[int, object, dict[str, str]]] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def will(self, status: int, body: object = None, **headers: str) -> Scripted:
        """Add an answer; underscores in names of headers are hyphens."""
        self.answers.append((status, body, {name.replace("_", "-"): value for name, value in headers.items()}))
        return self

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        self.requests.append((handler.command, handler.path, dict(handler.headers), body))
        status, said, headers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """The server, running."""
    script = Scripted()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            script.answer(self)

        def do_GET(self) -> None:
            script.answer(self)

        def log_message(self, *_: Any) -> None:
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        script.url = f"http://127.0.0.1:{server.server_port}"
        yield script
        server.shutdown()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A file; the server does not look at it."""
    path = tmp_path / 'a "photo"\r\n.jpg'
    path.write_bytes(b"\x00\r\n--bytes")
    return path


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits, which are noted and not waited."""
    waits: list[float] = []
    sleep, mine = time.sleep, threading.get_ident()

    def note(seconds: float) -> None:
        # There may be threads of other tests, such as Prefect's, that sleep as well.
        waits.append(seconds) if threading.get_ident() == mine else sleep(seconds)

    monkeypatch.setattr(time, "sleep", note)
    return waits


def test_answer_is_typed_and_the_file_is_sent_byte_for_byte(scripted: Scripted, photo: Path) -> None:
    scripted.will(200, SAID)
    answer = Client(f"{scripted.url}/behind/a/path/", api_key="").predict(photo)
    assert answer == Prediction("bee", {"bee": 0.9, "ant": 0.1}, False, 0.5, SAID["model"], "ab12")  # type: ignore[arg-type]
    [(method, path, headers, body)] = scripted.requests
    assert (method, path) == ("POST", "/behind/a/path/predict")
    assert "Authorization" not in headers
    assert photo.read_bytes() in body
    assert b'form-data; name="image"; filename="a %22photo%22%0D%0A.jpg"' in body


def test_key_is_taken_from_the_environment_and_not_shown(
    scripted: Scripted, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_API_KEY", "s3cret")
    scripted.will(200, SAID)
    client = Client(scripted.url)
    client.predict(photo)
    assert scripted.requests[0][2]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(client)


def test_busy_service_is_asked_again_when_it_says(scripted: Scripted, photo: Path, slept: list[float]) -> None:
    scripted.will(429, {}, Retry_After="7").will(503, {}).will(429, {}, Retry_After="86400").will(200, SAID)
    assert Client(scripted.url).predict(photo).label == "bee"
    assert slept == [7, 1, 30]


def test_busy_service_is_given_up_after_a_few_times(scripted: Scripted, photo: Path, slept: list[float]) -> None:
    scripted.will(429, {"error": "the queue is full"}, Retry_After="2")
    with pytest.raises(ServiceError) as refused:
        Client(scripted.url).predict(photo)
    assert refused.value.message() == f"the queue is full\n  where: {scripted.url}\n  remedy: ask again later"
    assert slept == [2] * 4


@pytest.mark.parametrize(
    ("status", "body", "kind", "what", "remedy"),
    [
        (400, {"error": "the file is empty", "remedy": "send one"}, DataError, "the file is empty", "send one"),
        (413, {"error": "too large", "remedy": "scale it"}, DataError, "too large", "scale it"),
        (413, b"<html>", DataError, "the service refuses it (413)", None),
        (400, {"error": "red \x1b[31m text"}, DataError, "red  [31m text", None),
        (
            401,
            {},
            ServiceError,
            "the service asks for an API key",
            "set GRAFT_API_KEY to the key that the service was started with",
        ),
        (403, {"error": "not by this name", "remedy": "name it"}, ServiceError, "not by this name", "name it"),
        (500, b"", ServiceError, "the service failed (500)", "see what its log says"),
        (500, {"error": ["no", "text"]}, ServiceError, "the service failed (500)", "see what its log says"),
        (
            302,
            {},
            ServiceError,
            "the service redirects, which is not followed",
            "name the address where the service itself is",
        ),
        (
            404,
            b"Not Found",
            ServiceError,
            "there is no service of graft here: it answered /predict with 404",
            "name the address that `make serve` prints, such as http://127.0.0.1:3000",
        ),
        (
            200,
            b"<html>",
            ServiceError,
            "there is no service of graft here: what it answers to /predict is not what graft's service answers",
            "name the address that `make serve` prints, such as http://127.0.0.1:3000",
        ),
        (
            200,
            {"label": "bee"},
            ServiceError,
            "the service answers otherwise than this client expects: KeyError('probabilities')",
            "use the same version of graft on both sides",
        ),
    ],
)
def test_every_refusal_says_what_where_and_what_to_do(
    scripted: Scripted, photo: Path, status: int, body: object, kind: type, what: str, remedy: str | None
) -> None:
    scripted.will(status, body, Location="http://127.0.0.1:9/")
    with pytest.raises(kind) as refused:
        Client(scripted.url).predict(photo)
    where = str(photo) if kind is DataError else scripted.url
    assert (refused.value.what, refused.value.where, refused.value.remedy) == (what, where, remedy)


def test_nobody_there(photo: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"  # taken, so that nobody else listens there
        with pytest.raises(ServiceError) as refused:
            Client(url).predict(photo)
    assert refused.value.message() == (
        f"the service cannot be reached: Connection refused\n  where: {url}\n"
        "  remedy: start it with `make serve`, or name the address where it is"
    )


def test_service_that_says_nothing_is_given_up(photo: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
        with pytest.raises(ServiceError, match=r"the service did not answer in 0\.2 s"):
            client.predict(photo)


def test_refusal_is_read_though_the_body_is_not_taken_to_its_end(photo: Path) -> None:
    photo.write_bytes(bytes(30 << 20))
    said = b'HTTP/1.1 413 X\r\nContent-Length: 22\r\nConnection: close\r\n\r\n{"error": "too large"}'
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            with server.accept()[0] as asked:
                asked.recv(1000)
                asked.sendall(said)

        threading.Thread(target=refuse, daemon=True).start()
        with pytest.raises(DataError, match="too large"):
            Client(f"http://127.0.0.1:{server.getsockname()[1]}").predict(photo)


@pytest.mark.parametrize(
    "url",
    [
        *("127.0.0.1:3000", "", "file:///etc/passwd", "ftp://h", "http://", "http://h:99999", "http://[::1"),
        *("http://u:p@h", "http://h/?a", "http://h/#a", "http://h/a b", "http://h\r\nX: y"),
    ],
)
def test_wrong_addresses_are_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(ServiceError) as refused:
        Client(url)
    assert refused.value.what == "this is not the address of a service"
    assert refused.value.remedy == "write it as http://127.0.0.1:3000; a key goes into GRAFT_API_KEY"


@pytest.mark.parametrize("key", ["a\r\nX: y", "ключ"])
def test_key_that_is_no_header_is_refused(key: str) -> None:
    with pytest.raises(ServiceError, match="the API key has characters that cannot be sent"):
        Client("http://127.0.0.1", key)


def test_no_proxy_is_asked(scripted: Scripted, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    scripted.will(200, SAID)
    assert Client(scripted.url).predict(photo).label == "bee"


def test_many_are_answered_in_their_order_with_refusals_among_them(scripted: Scripted, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(9)]
    for file in files[1:]:
        file.write_text(file.name)
    at_once: list[int] = []
    lock, running, several = threading.Lock(), [0], threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        number = int(body.partition(b"\r\n\r\n")[2].partition(b".png")[0])
        with lock:
            running[0] += 1
            at_once.append(running[0])
            if running[0] > 1:
                several.set()
        if number == 1:
            several.wait(60)
        threading.Event().wait(0.02 * (9 - number))  # later ones are answered sooner
        with lock:
            running[0] -= 1
        data = json.dumps({**SAID, "label": str(number)} if number != 4 else {"error": "damaged"}).encode()
        handler.send_response(400 if number == 4 else 200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    scripted.answer = answer  # type: ignore[method-assign]
    said = list(Client(scripted.url).predict_many(files, in_flight=3))
    assert [each.label if isinstance(each, Prediction) else each.what for each in said] == [
        "there is no such file", "1", "2", "3", "damaged", "5", "6", "7", "8",
    ]  # fmt: skip
    assert 1 < max(at_once) <= 3


def test_feedback_and_card(scripted: Scripted) -> None:
    card = {"name": "graft", "version": "v", "classes": ["a", "b"], "size": 32, "metrics": {"accuracy": 0.9}, "x": 1}
    client = Client(scripted.will(200, card).will(200, {}).will(404, {"error": "there is no such answer"}).url)
    model = client.model()
    assert (model.name, model.classes, model.size, model.metrics) == ("graft", ("a", "b"), 32, {"accuracy": 0.9})
    assert model.everything == card
    client.feedback("ab12", "b")
    assert json.loads(scripted.requests[-1][3]) == {"id": "ab12", "label": "b"}
    with pytest.raises(DataError, match="there is no such answer"):
        client.feedback("ff", "b")


def test_client_is_light() -> None:
    heavy = {"numpy", "torch", "PIL", "httpx", "pandas", "bentoml"}
    code = f"import sys, graft.client; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_client_needs_nothing_that_windows_lacks(scripted: Scripted, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"x")
    scripted.answers = [(200, SAID, {})]
    lacking = {
        "signal": ["SIGPIPE", "SIGKILL", "SIGHUP", "SIGALRM", "SIGUSR1"],
        "select": ["poll", "epoll", "POLLERR", "POLLHUP"],
        "os": ["sync", "sched_getaffinity", "getuid", "geteuid", "fork", "O_NONBLOCK", "mkfifo", "uname"],
    }
    code = f"""
import sys, signal, select, os, http.client, tempfile, concurrent.futures, pathlib, subprocess, platform
import numpy, PIL.Image
for module, names in {lacking!r}.items():
    for name in names:
        delattr(sys.modules[module], name)
for module in ("fcntl", "resource", "pwd", "grp", "termios", "pty", "syslog"):
    sys.modules[module] = None
from graft.client import Client
from graft.core.exit_code import exit_code
assert exit_code(lambda: print(Client({scripted.url!r}).predict(pathlib.Path({str(file)!r})).label)) == 0
from graft.core.exit_code import stdout_is_closed
assert not stdout_is_closed()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("bee\n", "")
