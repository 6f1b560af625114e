"""The service as a process of its own, against those who mean harm, and told to end while it works."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from graft.core.workspace import Workspace
from graft.monitoring.prediction_log import PredictionLog
from tests.serving.conftest import package
from tests.serving.process import (
    BENTOML,
    PATIENCE,
    ROOT,
    held_port,
    logged_in,
    serving,
    workers_in,
)
from tests.waiting import until


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
    folder = tmp_path_factory.mktemp("running")
    workspace = package(folder / "project", finetuned)
    shutil.copy(ROOT / "bentofile.yaml", workspace.root)
    with serving(workspace.root, clean_environment(folder)) as url:
        yield Running(url, workspace)


def clean_environment(folder: Path) -> dict[str, str]:
    import os

    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BENTOML", "GRAFT"))}
    return {**kept, "BENTOML_HOME": str(folder / "bentoml home")}


HEAD = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n%b\r\n"
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
)


def head(*headers: bytes) -> bytes:
    return HEAD % b"".join(header + b"\r\n" for header in headers)


def form(image: bytes) -> bytes:
    return head()[HEAD.index(b"%b") + 2 :] + image + b"\r\n--b--\r\n"


def post(url: str, image: bytes) -> int:
    return httpx.post(f"{url}/predict", files={"image": image}, timeout=PATIENCE).status_code


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
                connection.sendall(b"%x\r\n%b\r\n" % (len(begin), begin) if "chunks" in body else begin)
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
    environment["GRAFT_HOSTS"] = "app.example.com"
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-api-key"}
    with serving(project.root, environment) as url:
        passed = httpx.options(f"{url}/feedback", headers={"Origin": app, **asks}, timeout=PATIENCE)
        assert (passed.status_code, passed.headers["access-control-allow-origin"]) == (200, app)
        others = httpx.options(f"{url}/feedback", headers={"Origin": "https://evil.example", **asks}, timeout=PATIENCE)
        assert others.status_code == 400 and "access-control-allow-origin" not in others.headers
        headers = {"Origin": app, "Sec-Fetch-Site": "cross-site", "X-API-Key": "k"}
        answer = httpx.post(f"{url}/predict", files={"image": png}, headers=headers, timeout=PATIENCE)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, app)
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


def test_logs_and_metrics(running: Running, png: bytes) -> None:
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
    rows = PredictionLog(running.workspace.prediction_log).read()
    assert rows[rows["id"] == body["id"]]["truth"].tolist() == ["bee"]
    httpx.post(f"{running.url}/predict_batch", files=[("image", png)] * 2, timeout=PATIENCE)
    httpx.post(f"{running.url}/predict", timeout=PATIENCE)
    text = httpx.get(f"{running.url}/metrics", timeout=PATIENCE).text
    told = ("graft_answers_total{label=", "graft_unsure_total", "graft_batch_images_count 1.0", 'status="400"}')
    counted = ('bentoml_service_request_total{endpoint="/predict",http_response_code="200"', "request_duration_seconds")
    assert [name for name in (*told, *counted) if name not in text] == []


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


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ({}, ("--host", "0.0.0.0"), "the service would answer everybody who can reach 0.0.0.0, and no API key is set"),
        ({"BENTOML_CONTAINERIZED": "true"}, (), "the service would answer everybody who can reach 0.0.0.0"),
        ({"BENTOML_HOST": "::"}, (), "the service would answer everybody who can reach ::, and no API key is set"),
        ({"GRAFT_QUEUE": "64"}, (), "GRAFT_QUEUE is no setting of the service any more"),
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
