"""Which server a run uses: one that answers as Prefect's does, else a temporary one with a database of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_DATABASE_CONNECTION_URL, temporary_settings

from flows.cli import answers, reachable_server


class Somebody(BaseHTTPRequestHandler):
    """Answers everything, as a web server does that has nothing to do with Prefect."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def somebody() -> Iterator[str]:
    """The address of such a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Somebody) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()


def test_what_answers_http_is_no_prefect_server_by_that(somebody: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert not answers(somebody)
    with temporary_settings({PREFECT_API_URL: somebody}):
        before = PREFECT_SERVER_DATABASE_CONNECTION_URL.value()
        with reachable_server():
            assert PREFECT_API_URL.value() is None
            own = PREFECT_SERVER_DATABASE_CONNECTION_URL.value()
    assert capfd.readouterr().out.startswith(f"no Prefect server answers at {somebody}: this run uses a temporary one")
    # The history of `make server` is the team's.
    assert own != before and str(own).endswith("graft-temporary.db")


@pytest.mark.usefixtures("prefect_server")
def test_a_prefect_server_answers() -> None:
    server = PREFECT_API_URL.value() or ""
    assert answers(server) and answers(f"{server}/")
