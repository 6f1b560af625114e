"""The service as a process of its own, against those who mean harm, and told to end while it works."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from graft.journal import Journal
from graft.workspace import Workspace
from tests.serve.conftest import package
from tests.serve.process import (
    BENTOML,
    ON_ITS_WAY,
    PATIENCE,
    ROOT,
    held_port,
    kill,
    logged_in,
    service_in,
    serving,
    workers_in,
)
from tests.waiting import until

SECONDS = 6  # that slow senders are given
NO_MODEL_YET = "there is no model yet; waiting"


@dataclass(frozen=True)
class Running:
    """A service that runs, and its project."""

    url: str
    workspace: Workspace

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def lines(self) -> list[dict[str, Any]]:
        return logged_in(self.workspace.root / "serve.log")

    def has_begun(self) -> bool:
        """Whether all of its workers serve: it is ready when the first of them is."""
        wanted = httpx.get(f"{self.url}/model", timeout=PATIENCE).json()["runtime"]["workers"]
        return len({line["process"] for line in self.lines() if line["message"].startswith("serving ")}) == wanted

    def memory(self) -> int:
        """Bytes that its workers hold."""
        return sum(worker.memory_info().rss for worker in workers_in(self.workspace.root))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, finetuned: Path) -> Iterator[Running]:
    """A service that waits longer than any machine is slow."""
    with run_for(tmp_path_factory.mktemp("running"), finetuned, seconds=PATIENCE) as service:
        yield service


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, finetuned: Path) -> Iterator[Running]:
    """A service that cuts slow senders off soon: for them alone, as a busy machine makes everybody one."""
    with run_for(tmp_path_factory.mktemp("hasty"), finetuned, seconds=SECONDS) as service:
        yield service


@contextmanager
def run_for(folder: Path, finetuned: Path, seconds: int) -> Iterator[Running]:
    """A service in ``folder`` that gives a header, and a body, so many seconds."""
    workspace = package(folder / "project", finetuned)
    shutil.copy(ROOT / "bentofile.yaml", workspace.root)
    limits = {"GRAFT_BODY_SECONDS": str(seconds), "GRAFT_HEADER_SECONDS": str(seconds)}
    with serving(workspace.root, {**clean_environment(folder), **limits}) as url:
        yield Running(url, workspace)


def clean_environment(folder: Path) -> dict[str, str]:
    import os

    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BENTOML", "GRAFT"))}
    return {**kept, "BENTOML_HOME": str(folder / "bentoml home"), "GRAFT_MODEL_WAIT": "0"}


HEAD = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n%b\r\n"
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
)


def head(*headers: bytes) -> bytes:
    return HEAD % b"".join(header + b"\r\n" for header in headers)


def form(image: bytes) -> bytes:
    return head()[HEAD.index(b"%b") + 2 :] + image + b"\r\n--b--\r\n"


def said(connection: socket.socket) -> bytes:
    """All that comes until the other side hangs up."""
    chunks = b""
    try:
        while chunk := connection.recv(1 << 16):
            chunks += chunk
    except ConnectionResetError:
        pass
    return chunks


def one_answer(connection: socket.socket) -> bytes:
    """The next answer of a connection that is kept, whole; what there is of it where it ends before."""
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer) < answer.index(b"\r\n\r\n") + 4 + length_of(answer):
        chunk = connection.recv(1 << 16)
        if not chunk:
            break
        answer += chunk
    return answer


def length_of(answer: bytes) -> int:
    """What it says of its body's length; 0 where it says nothing."""
    head = answer.partition(b"\r\n\r\n")[0].lower()
    return int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)


def post(url: str, image: bytes) -> int:
    return httpx.post(f"{url}/predict", files={"image": image}, timeout=PATIENCE).status_code


@pytest.mark.slow
def test_five_hundred_slow_connections_take_nothing_from_others_and_are_cut_off(hasty: Running, png: bytes) -> None:
    until(hasty.has_begun, PATIENCE)
    before = hasty.memory()
    starts = (b"", b"POST /pre", head(b"Content-Length: 100000"), head(b"Transfer-Encoding: chunked")[:-70])
    slow = []
    for number in range(500):  # each says at once what it will say, for its time runs
        slow.append(hasty.connect())
        slow[-1].sendall(starts[number % len(starts)])
    assert [post(hasty.url, png) for _ in range(3)] == [200] * 3
    ends = Counter(said(connection)[:12] for connection in slow)
    for connection in slow:
        connection.close()
    assert ends == {b"HTTP/1.1 408": 375, b"": 125}  # who has said nothing is told nothing
    assert post(hasty.url, png) == 200
    assert hasty.memory() - before < 100 << 20


@pytest.mark.slow
def test_a_sender_that_drips_is_cut_off_too(hasty: Running) -> None:
    with hasty.connect() as connection:
        connection.sendall(head(b"Content-Length: 100000"))
        ended: list[bytes] = []
        listener = threading.Thread(target=lambda: ended.append(said(connection)))
        listener.start()
        while listener.is_alive():
            try:
                connection.sendall(b"x")
            except OSError:
                break
            time.sleep(0.05)
        listener.join()
    assert ended[0].startswith(b"HTTP/1.1 408")


@pytest.mark.slow
def test_a_connection_that_is_kept_and_asks_for_nothing_more_is_closed_without_an_answer(hasty: Running) -> None:
    with hasty.connect() as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert one_answer(connection).startswith(b"HTTP/1.1 200")
        assert said(connection) == b""


@pytest.mark.slow
def test_a_connection_that_is_kept_and_then_drips_a_header_is_cut_off(hasty: Running) -> None:
    with hasty.connect() as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /li")
        for letter in b"vez" * 4:
            time.sleep(SECONDS / 6)
            try:
                connection.sendall(bytes([letter]))
            except OSError:
                break
        answers = said(connection)
    assert answers.startswith(b"HTTP/1.1 200") and answers.count(b"HTTP/1.1") <= 2


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ((b"Transfer-Encoding: chunked",), "chunks of an image", 200),
        ((b"Transfer-Encoding: chunked",), "chunks without end", 413),
        ((b"Content-Length: 104857600",), "nothing", 413),
        ((b"Content-Length: 104857600",), "all of it", 413),
        ((b"Content-Length: -5",), "nothing", 400),
        ((b"Content-Length: 5", b"Content-Length: 6"), "nothing", 400),
        ((b"Content-Length: 5", b"Transfer-Encoding: chunked"), "nothing", None),
        ((b"Transfer-Encoding: chunked",), "a chunk of a size that is none", 400),
        ((b"Content-Length: 300",), "half and then a hang-up", None),
        ((b"X-Header: " + b"x" * 200_000,), "nothing", 400),
    ],
)
def test_bodies_as_they_should_not_be(
    running: Running, png: bytes, headers: tuple[bytes, ...], body: str, status: int | None
) -> None:
    with running.connect() as connection:
        whole = head(*headers)
        start, begin = whole[: whole.index(b"\r\n\r\n") + 4], whole[whole.index(b"\r\n\r\n") + 4 :]
        try:
            connection.sendall(start)
            if body == "chunks of an image":
                for piece in (begin, png[:100], png[100:], b"\r\n--b--\r\n"):
                    connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
                connection.sendall(b"0\r\n\r\n")
            elif body in {"chunks without end", "all of it"}:
                piece = bytes(1 << 20)
                for _ in range(100):
                    connection.sendall(b"100000\r\n" + piece + b"\r\n" if "chunks" in body else piece)
            elif body == "half and then a hang-up":
                connection.sendall(begin)
                connection.shutdown(socket.SHUT_WR)
            elif body.startswith("a chunk"):
                connection.sendall(b"zz\r\n")
        except OSError:
            assert status != 200  # it was told and cut off while it went on
        answer = connection.recv(1 << 16) if status else b""
    if status:
        assert answer.startswith(b"HTTP/1.1 %d" % status), answer
    assert post(running.url, png) == 200


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/predict", 413, "the upload is larger than 20 MiB"),
        ("/feedback", 413, "the upload is larger than 4 KiB"),
        ("/nothing", 404, "there is nothing at this path"),
    ],
)
def test_who_sends_all_before_reading_sees_the_refusal_and_no_broken_pipe(
    running: Running, path: str, status: int, error: str
) -> None:
    # Python's own client asks for the connection to be closed after the answer.
    request = urllib.request.Request(f"{running.url}{path}", bytes(64 << 20), {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=PATIENCE)
    assert (refused.value.code, json.load(refused.value)["error"]) == (status, error)


def test_web_pages_of_others_cannot_ask(running: Running, png: bytes) -> None:
    def status(method: str, **headers: str) -> int:
        files = {"image": png} if method == "POST" else None
        path = "predict" if method == "POST" else ""
        return httpx.request(
            method, f"{running.url}/{path}", files=files, headers=headers, timeout=PATIENCE
        ).status_code

    own = running.url
    assert [status("POST"), status("POST", Origin=own), status("GET", Origin="https://evil.example")] == [200] * 3
    assert [status("POST", Host="evil.example"), status("GET", Host="evil.example")] == [403] * 2
    assert status("POST", Origin="https://evil.example") == 403
    assert status("OPTIONS", Origin=own, **{"Access-Control-Request-Method": "POST"}) == 405


@pytest.mark.slow
def test_preflight_requests_pass_where_cors_is_switched_on_and_from_whom_it_names(
    project: Workspace, tmp_path: Path, png: bytes
) -> None:
    shutil.copy(ROOT / "bentofile.yaml", project.root)
    app, cors = "https://app.example.com", "services.graft_classifier.http.cors"
    options = f'{cors}.enabled=true {cors}.access_control_allow_origins=["{app}"]'
    environment = {**clean_environment(tmp_path), "BENTOML_CONFIG_OPTIONS": options, "GRAFT_API_KEY": "k"}
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-api-key"}
    with serving(project.root, environment) as url:
        passed = httpx.options(f"{url}/feedback", headers={"Origin": app, **asks}, timeout=PATIENCE)
        assert (passed.status_code, passed.headers["access-control-allow-origin"]) == (200, app)
        others = httpx.options(f"{url}/feedback", headers={"Origin": "https://evil.example", **asks}, timeout=PATIENCE)
        assert others.status_code == 400 and "access-control-allow-origin" not in others.headers
        headers = {"Origin": app, "Sec-Fetch-Site": "cross-site", "X-API-Key": "k"}
        answer = httpx.post(f"{url}/predict", files={"image": png}, headers=headers, timeout=PATIENCE)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, app)
        # The page is told why it was refused.
        refused = httpx.post(f"{url}/predict", headers={**headers, "X-API-Key": "other"}, timeout=PATIENCE)
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, app)
        headers["Origin"] = "https://evil.example"
        assert httpx.post(f"{url}/predict", files={"image": png}, headers=headers, timeout=PATIENCE).status_code == 403


def test_ten_thousand_parts_and_an_endless_boundary(running: Running, png: bytes) -> None:
    parts = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nx\r\n' * 10_000 + b"--b--\r\n"
    for body, boundary in (
        (parts, "b"),
        (b"--" + b"b" * (1 << 20), "b"),
        (b"x", "b" * 60_000),
        (b"--b" * 500_000, "b"),
    ):
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        answer = httpx.post(f"{running.url}/predict", content=body, headers=kind, timeout=PATIENCE)
        assert answer.status_code == 400, answer.text
    assert post(running.url, png) == 200


def test_log_journal_and_figures(running: Running, png: bytes) -> None:
    answer = httpx.post(
        f"{running.url}/predict?top_k=1", files={"image": png}, headers={"X-Request-ID": "mine-1"}, timeout=PATIENCE
    )
    assert answer.headers["x-request-id"] == "mine-1"
    # The line says how long the answer took, and is written when that is out.
    (line,) = until(lambda: [line for line in running.lines() if line.get("request") == "mine-1"])
    assert (line["path"], line["status"], line["logger"]) == ("/predict", 200, "graft.access")
    body = answer.json()
    assert httpx.post(f"{running.url}/feedback", json={"id": body["id"], "label": "bee"}, timeout=PATIENCE).json() == {
        "id": body["id"],
        "label": "bee",
    }
    rows = Journal(running.workspace.journal).read()
    assert rows[rows["id"] == body["id"]]["truth"].tolist() == ["bee"]
    httpx.post(f"{running.url}/predict_batch", files=[("image", png)] * 2, timeout=PATIENCE)
    for number in range(20):
        httpx.get(f"{running.url}/made/up/{number}", timeout=PATIENCE)
    # A second service that is refused does not empty the figures of the first.
    refused = run(running.workspace.root, {}, "--port", str(running.port))
    assert "is taken" in refused.stderr
    text = httpx.get(f"{running.url}/metrics", timeout=PATIENCE).text
    told = ("graft_answers_total{label=", "graft_unsure_total", "graft_batch_images_count 1.0", 'status="404"}')
    counted = ('bentoml_service_request_total{endpoint="/predict",http_response_code="200"', "request_duration_seconds")
    assert [name for name in (*told, *counted) if name not in text] == []
    assert "/made/up" not in text


def run(where: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`bentoml serve` where it is expected to end by itself."""
    return subprocess.run(
        [BENTOML, "serve", *arguments],
        cwd=where,
        env={**clean_environment(where), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_taken_port_is_named_at_once(project: Workspace) -> None:
    shutil.copy(ROOT / "bentofile.yaml", project.root)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run(project.root, {}, "--port", str(port))
    assert refused.returncode == 1
    assert f"port {port} is taken\n  where: 127.0.0.1:{port}\n  remedy: end the other service" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ({}, ("--host", "0.0.0.0"), "the service would answer everybody who can reach 0.0.0.0, and no API key is set"),
        ({"BENTOML_CONTAINERIZED": "true"}, (), "the service would answer everybody who can reach 0.0.0.0"),
        (
            {"BENTOML_CONFIG_OPTIONS": "services.graft_classifier.http.host=0.0.0.0"},
            (),
            "the service would answer everybody who can reach 0.0.0.0, and no API key is set",
        ),
        ({"BENTOML_HOST": "::"}, (), "the service would answer everybody who can reach ::, and no API key is set"),
        ({"GRAFT_QUEUE": "none"}, (), "GRAFT_QUEUE=none is no number from 1 on"),
    ],
)
def test_what_must_not_be_served_is_not(
    project: Workspace, environment: dict[str, str], arguments: tuple[str, ...], message: str
) -> None:
    shutil.copy(ROOT / "bentofile.yaml", project.root)
    with held_port() as port:
        refused = run(project.root, environment, "--port", str(port), *arguments)
    assert refused.returncode == 1
    assert message in refused.stderr and "Traceback" not in refused.stderr


@pytest.mark.slow
def test_everybody_is_served_where_a_key_is_asked_for(project: Workspace, tmp_path: Path) -> None:
    shutil.copy(ROOT / "bentofile.yaml", project.root)
    environment = {**clean_environment(tmp_path), "GRAFT_API_KEY": "k"}
    with serving(project.root, environment, "--host", "0.0.0.0") as url:
        assert httpx.get(f"{url}/model", timeout=PATIENCE).status_code == 401
        key = {"Authorization": "Bearer k"}
        assert httpx.get(f"{url}/model", headers=key, timeout=PATIENCE).status_code == 200


def test_without_a_model_it_is_alive_and_not_ready(tmp_path: Path) -> None:
    shutil.copy(ROOT / "bentofile.yaml", tmp_path)
    log, environment = tmp_path / "serve.log", {**clean_environment(tmp_path), "GRAFT_MODEL_WAIT": "600"}
    with held_port() as port, log.open("w") as output:
        command = [BENTOML, "serve", "--port", str(port)]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
        try:
            until(lambda: NO_MODEL_YET in log.read_text() and is_open(port), PATIENCE)
            for name, status in [("livez", 200), ("readyz", 503)] * 3:
                assert httpx.get(f"http://127.0.0.1:{port}/{name}", timeout=PATIENCE).status_code == status
            assert process.poll() is None
        finally:
            kill(process)


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_without_a_model_it_ends_after_its_wait_with_one_message(tmp_path: Path) -> None:
    shutil.copy(ROOT / "bentofile.yaml", tmp_path)
    with held_port() as port:
        refused = run(tmp_path, {"GRAFT_MODEL_WAIT": "1"}, "--port", str(port))
    assert refused.returncode == 1
    assert f"{NO_MODEL_YET} 1 seconds for one" in refused.stdout
    assert refused.stderr.count("there is no model here") == 1 and "Traceback" not in refused.stderr


@pytest.mark.slow
def test_a_model_that_comes_late_is_served(project: Workspace, tmp_path: Path, png: bytes) -> None:
    shutil.copy(ROOT / "bentofile.yaml", project.root)
    elsewhere, log = tmp_path / "elsewhere", project.root / "serve.log"
    project.packaged.rename(elsewhere)

    def bring() -> None:
        until(lambda: log.exists() and NO_MODEL_YET in log.read_text(), PATIENCE)
        elsewhere.rename(project.packaged)

    bringer = threading.Thread(target=bring)
    bringer.start()
    with serving(project.root, {**clean_environment(tmp_path), "GRAFT_MODEL_WAIT": "600"}) as url:
        assert post(url, png) == 200
    bringer.join()


@pytest.mark.slow
def test_told_to_end_under_load_it_answers_whatever_it_has_accepted(
    project: Workspace, tmp_path: Path, png: bytes
) -> None:
    shutil.copy(ROOT / "bentofile.yaml", project.root)
    body = form(png)
    request = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    ends: list[str] = []  # a list, for several threads add to it
    told = threading.Event()

    def come_and_send(port: int) -> None:
        # The service closes a connection that rests, as all do while this process is kept waiting: then another comes.
        while not told.is_set():
            begun = time.monotonic()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
                send_and_send(connection, begun)

    def send_and_send(connection: socket.socket, sent: float) -> None:
        answer = b"begin"
        while answer and b"connection: close" not in answer.lower():
            before, sent, answer = sent, time.monotonic(), b""
            with suppress(OSError):
                connection.sendall(request)
            # Whoever rested for so long may find the connection closed, and has not been let in.
            has_rested = time.monotonic() - before > ON_ITS_WAY
            with suppress(OSError):
                answer = one_answer(connection)
            if answer.startswith(b"HTTP/1.1 200"):
                ends.append("answered")
            elif answer or not has_rested:
                ends.append(f"dropped: {answer[:40]!r}")

    with serving(project.root, clean_environment(tmp_path)) as url:
        port = int(url.rpartition(":")[2])
        senders = [threading.Thread(target=come_and_send, args=(port,)) for _ in range(8)]
        for sender in senders:
            sender.start()
        until(lambda: len(ends) > 80, PATIENCE)
        told.set()
        service_in(project.root).send_signal(signal.SIGTERM)
        for sender in senders:
            sender.join()
    assert set(ends) == {"answered"}
    # Nor is the last of them missing in the journal, or an answer that nobody had in it.
    assert len(Journal(project.journal).read()) == len(ends)
