"""A server on loopback that serves files as download.pytorch.org and huggingface.co do, or fails as told."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Hub:
    """What is served, by path, and how.

    Attributes:
        url: where it listens.
        files: path -> content.
        sends: share of a file's bytes that are sent before the connection is closed.
        asked: "METHOD path" of every request, in order.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    sends: float = 1.0
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(0.0)

        def do_GET(self) -> None:
            self._answer(hub.sends)

        def _answer(self, share: float) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            if self.path not in hub.files:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = hub.files[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            self.wfile.write(content[: int(len(content) * share)])

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
