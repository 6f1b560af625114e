"""Asks a service for answers, in a process of its own, and says how fast they came: the second side of serving.py.

`python benchmarks/load.py --port 3000 --clients 8 --seconds 5 a.jpg b.jpg` keeps 8 connections busy, each sending the
next image when it has its answer. `--rate 300` sends so many a second instead, whether answers come or not. Prints one
JSON object: answers by status, per second, and their quantiles in ms.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

BOUNDARY = "graft-benchmark"
FAILED = 0  # the status of a request that got no answer at all


def request_of(image: Path, field: str = "image") -> bytes:
    """The whole HTTP request that sends one image."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{image.name}"\r\n'
    body = head.encode() + b"Content-Type: image/jpeg\r\n\r\n" + image.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
    return (
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Load:
    """Sends requests and keeps the times of their answers.

    Args:
        port: of the service, on loopback.
        requests: what to send, in turn.
    """

    def __init__(self, port: int, requests: list[bytes]) -> None:
        self.port = port
        self.requests: Iterator[bytes] = itertools.cycle(requests)
        self.times: dict[int, list[float]] = defaultdict(list)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self) -> int:
        """Send one request on a connection that is free, or a new one; returns the status."""
        begun = time.perf_counter()
        status = FAILED
        try:
            link = await self._link()
            link[1].write(next(self.requests))
            status, is_kept = await _answer(link[0])
            if is_kept:
                self._idle.append(link)
            else:
                link[1].close()
        except (OSError, asyncio.IncompleteReadError):
            pass
        self.times[status].append(time.perf_counter() - begun)
        return status

    async def _link(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that is free, or a new one: the service closes those that were silent for seconds."""
        while self._idle:
            link = self._idle.pop()
            if not link[0].at_eof():
                return link
            link[1].close()
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def keep_busy(self, clients: int, seconds: float) -> None:
        """Closed loop: each client asks again when it is answered."""
        end = time.perf_counter() + seconds

        async def client() -> None:
            while time.perf_counter() < end:
                # One who was sent away waits a moment, as it was told to.
                if await self.ask() != 200:
                    await asyncio.sleep(0.01)

        await asyncio.gather(*(client() for _ in range(clients)))

    async def send_at(self, rate: float, seconds: float) -> None:
        """Open loop: ``rate`` requests a second, evenly, whether answers come or not."""
        begun, sent = time.perf_counter(), []
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            sent.append(asyncio.create_task(self.ask()))
        await asyncio.gather(*sent)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Read one answer to its end: its status, and whether the connection stays."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = 0
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    await reader.readexactly(length)
    return int(head[9:12]), b"connection: close" not in head


def summary(times: dict[int, list[float]], seconds: float) -> dict[str, object]:
    """What is printed."""

    def quantiles(values: list[float]) -> dict[str, float]:
        ms = np.asarray(values) * 1e3
        return {f"p{q}_ms": round(float(np.percentile(ms, q)), 2) for q in (50, 95, 99)}

    good = times.get(200, [])
    refused = [value for status, values in times.items() if status in {429, 503} for value in values]
    return {
        "per_second": round(len(good) / seconds, 2),
        **(quantiles(good) if good else {}),
        "statuses": {str(status): len(values) for status, values in sorted(times.items())},
        **({"refused": quantiles(refused)} if refused else {}),
    }


def main() -> None:
    """Read the arguments, send, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second; 0 keeps the clients busy instead")
    parser.add_argument("--seconds", type=float, default=5.0)
    asked = parser.parse_args()
    load = Load(asked.port, [request_of(image) for image in asked.images])
    begun = time.perf_counter()
    if asked.rate:
        asyncio.run(load.send_at(asked.rate, asked.seconds))
    else:
        asyncio.run(load.keep_busy(asked.clients, asked.seconds))
    print(json.dumps(summary(load.times, time.perf_counter() - begun)))


if __name__ == "__main__":
    main()
