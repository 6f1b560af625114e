"""Mutated images and requests against the service, as a process of its own: it may refuse them all, and never fail.

    .venv/bin/python benchmarks/fuzz_service.py            # 100,000 requests, 20 to 40 minutes on one core
    .venv/bin/python benchmarks/fuzz_service.py --quick    # 2,000

A small network with random weights is served, for what is under test is everything before it. Prints one JSON line: how
many requests of each kind, how they were answered, answers of 5xx, crashes (the worker died or was started anew),
and the worker's memory after a tenth of the requests and at the end. Exit code 1 where anything of it is not as it
should be.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
REQUESTS, QUICK = 100_000, 2_000
# Memory is flat where the last nine tenths add no more than this: allocators keep what large images took once.
MOST_GROWTH_MIB = 64
BOUNDARY = b"b0undary"


@dataclass(frozen=True)
class Request:
    """One request: HTTP's parts, or where ``raw`` is not empty the bytes of a whole one."""

    method: str = "POST"
    path: str = "/predict"
    kind: str = f"multipart/form-data; boundary={BOUNDARY.decode()}"
    body: bytes = b""
    raw: bytes = b""


@dataclass(frozen=True)
class Service:
    """The service that runs: where, and the process that answers."""

    port: int
    worker: psutil.Process


def seeds() -> dict[str, bytes]:
    """A small image in every format that is read."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((48, 40))
    made = {}
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"):
        buffer = io.BytesIO()
        coarse.save(buffer, format=kind)
        made[kind] = buffer.getvalue()
    buffer = io.BytesIO()
    coarse.save(
        buffer, format="JPEG", progressive=True, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06"
    )
    made["progressive"] = buffer.getvalue()
    return made


def mutated(data: bytes, rng: random.Random) -> bytes:
    """``data`` after one to eight changes: bytes, lengths, pieces cut out, doubled, put elsewhere."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at, length = rng.randrange(len(out) + 1), rng.choice((1, 2, 4, 16, 200))
        change = rng.randrange(7)
        if change == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            out[at : at + length] = rng.randbytes(length)
        elif change == 2:
            del out[at : at + length]
        elif change == 3:
            out[at:at] = out[at : at + length] * rng.choice((1, 2, 50))
        elif change == 4:
            out[at : at + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x01"))
        elif change == 5:
            other = rng.randrange(len(out) + 1)
            out[at : at + length] = out[other : other + length]
        else:
            del out[at:]
    return bytes(out)


def part(name: str, data: bytes, file: str | None = "a.png") -> bytes:
    """One field of a form."""
    shown = "" if file is None else f'; filename="{file}"'
    head = f'Content-Disposition: form-data; name="{name}"{shown}\r\n\r\n'
    return b"--" + BOUNDARY + b"\r\n" + head.encode() + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A form of such fields."""
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def an_image(rng: random.Random, images: list[bytes]) -> Request:
    """A proper form that holds a damaged image."""
    return Request(body=form(part("image", mutated(rng.choice(images), rng))))


def a_form(rng: random.Random, images: list[bytes]) -> Request:
    """A damaged form that holds a proper image."""
    return Request(body=mutated(form(part("image", rng.choice(images)), part("top_k", b"2", None)), rng))


def a_header(rng: random.Random, images: list[bytes]) -> Request:
    """A damaged content type."""
    kind = mutated(Request.kind.encode() + rng.choice((b"", b"; charset=utf-7", b'; charset="\\0"')), rng)
    shown = "".join(chr(byte) for byte in kind if byte >= 32 and byte != 127)
    return Request(kind=shown, body=form(part("image", rng.choice(images))))


def many(rng: random.Random, images: list[bytes]) -> Request:
    """Several images, some damaged, with odd names."""
    parts = [part("image", mutated(rng.choice(images), rng), odd_text(rng)) for _ in range(rng.randrange(1, 6))]
    return Request(path="/predict_batch", body=form(*parts))


def a_zip(rng: random.Random, images: list[bytes]) -> Request:
    """A damaged zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for number in range(rng.randrange(1, 5)):
            archive.writestr(
                rng.choice(("a.png", "../b.png", "c/d.png", f"{number}")) + str(number), rng.choice(images)
            )
    data = mutated(buffer.getvalue(), rng) if rng.random() < 0.9 else buffer.getvalue()
    return Request(path="/predict_batch", body=form(part("archive", data, "a.zip")))


def feedback(rng: random.Random, images: list[bytes]) -> Request:
    """Damaged JSON."""
    text = json.dumps({"id": rng.choice(("0" * 32, "x", 1, None, [], "\ud800")), "label": odd_text(rng)}).encode()
    return Request(path="/feedback", kind="application/json", body=mutated(text, rng))


def a_place(rng: random.Random, images: list[bytes]) -> Request:
    """Any method at any path."""
    path = rng.choice(("/predict", "/model", "/", "/metrics", "/feedback", "/docs.json", f"/{rng.randrange(10**6)}"))
    query = rng.choice(("", "?top_k=" + rng.choice(("1", "-1", "x", "9" * 99, "%00", "1&top_k=2"))))
    method = rng.choice(("GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "TRACE"))
    return Request(method, path + query, body=form(part("image", rng.choice(images))))


def raw(rng: random.Random, images: list[bytes]) -> Request:
    """Damaged bytes of a whole request."""
    body = form(part("image", images[0]))
    kind = Request.kind.encode()
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (
        kind,
        len(body),
    )
    return Request(raw=mutated(head, rng) + body)


def odd_text(rng: random.Random) -> str:
    """Text that has broken something somewhere."""
    return rng.choice(("ant", "", "../../x", "a\u0000b", "é" * 300, "\u202egnp.a", "x" * 4000, "%00", "<b>", "\ufeff"))


KINDS: dict[str, tuple[int, Callable[[random.Random, list[bytes]], Request]]] = {
    "image": (50, an_image),
    "form": (15, a_form),
    "header": (5, a_header),
    "many": (8, many),
    "zip": (8, a_zip),
    "feedback": (4, feedback),
    "place": (7, a_place),
    "raw": (3, raw),
}


def fuzz(service: Service, count: int, seed: int = 0) -> dict[str, Any]:
    """Send ``count`` requests and say what became of them."""
    rng, images = random.Random(seed), list(seeds().values())
    weights = [weight for weight, _ in KINDS.values()]
    kinds, statuses, memory = Counter[str](), Counter[str](), 0
    failed: list[str] = []
    with closing(Sender(service.port)) as sender:
        for number in range(count):
            kind = rng.choices(list(KINDS), weights)[0]
            kinds[kind] += 1
            status = sender.send(KINDS[kind][1](rng, images))
            statuses[status] += 1
            if status.startswith("5"):
                failed.append(f"{kind} {number}")
            if number == count // 10:
                memory = service.worker.memory_info().rss
    grown = (service.worker.memory_info().rss - memory) / 2**20
    return {
        "requests": count,
        "seed": seed,
        "kinds": dict(kinds),
        "answers": dict(sorted(statuses.items())),
        "server_errors": failed[:20],
        "crashes": int(not service.worker.is_running()),
        "memory_mib": round(memory / 2**20, 1),
        "growth_mib": round(grown, 1),
    }


class Sender:
    """Sends over one connection for as long as that is kept."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def send(self, request: Request) -> str:
        """The status of the answer, or how there was none."""
        if request.raw:
            return self._send_raw(request.raw)
        for _ in range(2):  # a connection that was kept may have been closed in the meantime
            try:
                headers = {"Content-Type": request.kind}
                self.connection.request(request.method, request.path, request.body, headers)
                answer = self.connection.getresponse()
                answer.read()
                return str(answer.status)
            except (ConnectionError, http.client.HTTPException):
                self.connection.close()
        return "closed"

    def close(self) -> None:
        """End the connection."""
        self.connection.close()

    def _send_raw(self, data: bytes) -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                return connection.recv(4096)[9:12].decode("latin-1") or "closed"
            except ConnectionError:
                return "closed"


def write_project(root: Path) -> None:
    """A project that holds a packaged model with random weights, and nothing else."""
    import torch

    from graft.inference.artifact import Artifact, save_artifact
    from graft.inference.package import write_package
    from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
    from graft.models.zoo.registry import build_network

    torch.manual_seed(0)
    classes = ("ant", "bee", "wasp")
    preprocessing = ImagePreprocessor(Geometry(32, 1.0, "bilinear"), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    card = Artifact(classes, "shufflenet_v2_x0_5", "none", None, preprocessing)
    save_artifact(root / "models" / "finetuned", card, build_network("shufflenet_v2_x0_5", len(classes)).eval())
    write_package(root / "models" / "finetuned", root / "models" / "packaged", "graft", {}, [])
    shutil.copy(ROOT / "bentofile.yaml", root)


@contextmanager
def served(root: Path) -> Iterator[Service]:
    """Serve the project in ``root`` from a process of its own until the block ends."""
    with socket.socket() as holder:
        # Bound for as long as the service runs, so that nobody else is given the port; Linux lets the service listen.
        holder.bind(("127.0.0.1", 0))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield from _served_at(holder.getsockname()[1], root)


def _served_at(port: int, root: Path) -> Iterator[Service]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BENTOML", "GRAFT"))}
    own = {"BENTOML_HOME": str(root / "bentoml home"), "GRAFT_WORKERS": "1"}
    environment = {**kept, **own}
    command = [Path(sys.executable).with_name("bentoml"), "serve", "--port", str(port)]
    log = root / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=output, stderr=output)
    try:
        until = time.monotonic() + 180
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the service did not become ready:\n{log.read_text()}")
            time.sleep(0.2)
        (worker,) = [one for one in psutil.Process(process.pid).children() if "worker" in " ".join(one.cmdline())]
        yield Service(port, worker)
    finally:
        process.terminate()
        process.wait(120)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def is_well(found: dict[str, Any]) -> bool:
    """Whether nothing failed and memory is flat."""
    return not found["server_errors"] and not found["crashes"] and found["growth_mib"] <= MOST_GROWTH_MIB


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    options.add_argument("--quick", action="store_true", help=f"{QUICK:,} requests instead of {REQUESTS:,}")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_project(root)
        begun = time.monotonic()
        with served(root) as service:
            found = fuzz(service, QUICK if given.quick else REQUESTS, given.seed)
    print(json.dumps({"benchmark": "fuzz_service", **found, "seconds": round(time.monotonic() - begun)}))
    sys.exit(0 if is_well(found) else 1)


if __name__ == "__main__":
    main()
