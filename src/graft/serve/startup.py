"""What is looked at before any worker starts, in the process of `bentoml serve`: each fault ends it with one message.

BentoML starts workers again and again where they fail, with a traceback each; and it binds its port last. So all that
can be known before is looked at here, and what is wrong is said once.
"""

from __future__ import annotations

import atexit
import errno
import ipaddress
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
from bentoml.container import BentoMLContainer

from graft.errors import ConfigError, GraftError
from graft.serve import environment

_LOOK_SECONDS = 0.2  # between two looks at whether the model has come
# Workers have another working folder than the one where these were typed.
_PATHS = ("GRAFT_MODEL", "GRAFT_JOURNAL", "GRAFT_KEEP_IMAGES")


def look_at_the_environment(host: str) -> None:
    """Refuse variables that cannot be used, and serving everybody where nobody said so; warn of those that set nothing.

    Args:
        host: the address that the service will listen on.

    Raises:
        ConfigError: as said.
    """
    environment.check()
    for line in environment.unknown():
        print(f"warning: {line}", file=sys.stderr, flush=True)
    for name in _PATHS:
        given = environment.text(name)
        if given and given.lower() != "off":
            os.environ[name] = str(Path(given).absolute())
    if is_loopback(host) or environment.text("GRAFT_API_KEY") or environment.is_on("GRAFT_OPEN"):
        return
    raise ConfigError(
        f"the service would answer everybody who can reach {host}, and no API key is set",
        remedy="set GRAFT_API_KEY to what senders must show, or GRAFT_OPEN=1 if that is meant",
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def look_at_the_port(host: str, port: int) -> None:
    """Refuse a port that somebody listens on already; BentoML would notice only after it has loaded everything.

    Raises:
        GraftError: it is taken, or may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the service itself will: a port that an ended service left a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise GraftError(
                f"port {port} is taken" if taken else f"port {port} cannot be used: {error.strerror}",
                where=f"{host}:{port}",
                remedy="end the other service, or choose another port: `bentoml serve --port 3001`",
            ) from None
        except OverflowError:
            raise GraftError(f"there is no port {port}", remedy="choose one from 1 to 65535") from None


def wait_for_the_model(is_there: Callable[[], bool], host: str, port: int) -> bool:
    """Whether there is a model, at once or within GRAFT_MODEL_WAIT seconds.

    A container often starts before the model's volume is filled. Until it is, the process is alive and not ready, and
    tells so who asks; after that it is for the caller to end it with a message that says what is missing.
    """
    until = time.monotonic() + environment.number("GRAFT_MODEL_WAIT")
    if is_there() or time.monotonic() >= until:
        return is_there()
    print(f"there is no model yet; waiting {environment.text('GRAFT_MODEL_WAIT')} seconds for one", flush=True)
    probes = _answer_probes(host, port)
    try:
        while not is_there() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
    finally:
        probes.shutdown()
        probes.server_close()
    return is_there()


def keep_metrics_apart() -> None:
    """Give `bentoml serve` a folder of its own for the figures that workers share; call it when the service is loaded.

    BentoML has one for all services of a user, and empties it whenever one is started: a second service, and even one
    that is refused because its port is taken, would end the counting of the first.
    """
    context = click.get_current_context(silent=True)
    if context is None or not str(context.info_name).startswith("serve"):
        return  # a worker, which was told of the folder, or a build
    folder = tempfile.mkdtemp(prefix="graft-metrics-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    BentoMLContainer.prometheus_multiproc_dir.set(folder)


def address_to_bind() -> tuple[str, int]:
    """Where `bentoml serve` will listen: what the command was given, else BentoML's settings.

    These are the service's own, changed by whatever BENTOML_CONFIG and BENTOML_CONFIG_OPTIONS say.
    """
    context = click.get_current_context(silent=True)
    given = context.params if context is not None else {}
    http = BentoMLContainer.http
    return given.get("host") or http.host.get(), given.get("port") or http.port.get()


class _Probes(BaseHTTPRequestHandler):
    timeout = 5  # seconds that a connection may say nothing

    def do_GET(self) -> None:
        alive = self.path in {"/livez", "/healthz"}
        body = b"\n" if alive else b'{"error": "there is no model yet", "remedy": "ask again later"}\n'
        self.send_response(200 if alive else 503)
        self.send_header("Content-Type", "text/plain" if alive else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "1")
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - as http.server calls it

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: probes come every second."""


def _answer_probes(host: str, port: int) -> ThreadingHTTPServer:
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    server = Server((host, port), _Probes)
    threading.Thread(target=server.serve_forever, args=(_LOOK_SECONDS,), daemon=True).start()
    return server
