"""A hub on this machine's loopback: serves files as download.pytorch.org and huggingface.co do, or fails as told."""

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
        elsewhere: whether the files themselves lie on another host, to which answers point, as large files do.
        states: a hash to state instead of the right one.
        asked: "METHOD path" of every request, in order.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    sends: float = 1.0
    elsewhere: bool = False
    states: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(b"")

        def do_GET(self) -> None:
            content = hub.files.get(self.path, b"")
            self._answer(content[: int(len(content) * hub.sends)])

        def _answer(self, body: bytes) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            if self.path not in hub.files:
                self.send_error(404)
                return
            whole = hub.files[self.path]
            tag = f'"{hub.states or hashlib.sha256(whole).hexdigest()}"'
            if hub.elsewhere and self.headers["Host"].startswith("127"):
                self.send_response(302)
                self.send_header("X-Linked-ETag", tag)
                self.send_header("Location", f"{hub.url.replace('127.0.0.1', 'localhost')}{self.path}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(whole)))
            self.send_header("ETag", '"of-the-store"' if hub.elsewhere else tag)
            self.end_headers()
            self.wfile.write(body)

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
