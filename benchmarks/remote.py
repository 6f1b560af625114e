"""`dvc push` and `dvc pull` of many small images: as loose files, and packed into tar shards with a manifest.

Run from the project's folder: `.venv/bin/python benchmarks/remote.py [--images 20000] [--shards 64] [--s3]`. The remote
is a folder, or with `--s3` a real S3 protocol server on loopback, to which every object is a request. Shards are
uncompressed, have no times or owners in them, and an image's shard follows from its path: one changed image changes one
shard. Packing and unpacking count as part of push and pull. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CLASSES, SIDE = 10, 28
BUCKET = "benchmark"


def draw(folder: Path, count: int) -> None:
    """Write ``count`` small grey images, all different, in class folders."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (7, 7), dtype=np.uint8))
        path = folder / f"class_{number % CLASSES}" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((SIDE, SIDE)).save(path)


def pack(images: Path, packed: Path, shards: int) -> None:
    """Write the images into tar shards, and a manifest that says which is where; same files, same bytes."""
    packed.mkdir(parents=True, exist_ok=True)
    files = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    shard_of = {name: int(hashlib.sha256(name.encode()).hexdigest(), 16) % shards for name in files}
    manifest = "".join(f"{name}\t{shard}\n" for name, shard in shard_of.items())
    (packed / "manifest.tsv").write_text(manifest, encoding="utf-8")
    for shard in range(shards):
        with tarfile.open(packed / f"{shard:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for name in (name for name in files if shard_of[name] == shard):
                content = (images / name).read_bytes()
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def unpack(packed: Path, images: Path) -> None:
    """Write the images of all shards as files again."""
    for shard in sorted(packed.glob("*.tar")):
        with tarfile.open(shard) as tar:
            tar.extractall(images, filter="data")


def dvc(folder: Path, *words: str) -> float:
    """Seconds that a `dvc` command takes."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "dvc", *words], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def project(folder: Path, remote: str) -> Path:
    """A DVC project without git whose cache is its own."""
    folder.mkdir(parents=True)
    dvc(folder, "init", "-q", "--no-scm")
    dvc(folder, "remote", "add", "-q", "-d", "store", remote)
    return folder


def round_trip(scratch: Path, name: str, images: Path, remote: str, shards: int) -> dict[str, float | int]:
    """Push everything, pull it elsewhere, change one image and push again; ``shards`` 0: loose files."""
    here, there = project(scratch / name / "here", remote), project(scratch / name / "there", remote)
    began = time.perf_counter()
    if shards:
        pack(images, here / "data", shards)
    else:
        subprocess.run(["cp", "-r", str(images), str(here / "data")], check=True)
    prepared = time.perf_counter() - began
    figures: dict[str, float | int] = {"objects": 1 + sum(path.is_file() for path in (here / "data").rglob("*"))}
    figures["push_s"] = round(prepared + dvc(here, "add", "data") + dvc(here, "push"), 2)
    (there / "data.dvc").write_bytes((here / "data.dvc").read_bytes())
    pulled = dvc(there, "pull")
    began = time.perf_counter()
    if shards:
        unpack(there / "data", there / "images")
    figures["pull_s"] = round(pulled + time.perf_counter() - began, 2)
    arrived = there / ("images" if shards else "data")
    assert sum(1 for _ in arrived.rglob("*.png")) == sum(1 for _ in images.rglob("*.png"))
    first = next(iter(sorted(images.rglob("*.png"))))
    content = first.read_bytes()
    Image.new("L", (SIDE, SIDE)).save(first)
    began = time.perf_counter()
    if shards:
        pack(images, here / "data", shards)
    else:
        (here / "data" / first.relative_to(images)).unlink()
        (here / "data" / first.relative_to(images)).write_bytes(first.read_bytes())
    figures["push_after_one_change_s"] = round(
        time.perf_counter() - began + dvc(here, "add", "data") + dvc(here, "push"), 2
    )
    first.write_bytes(content)
    return figures


@contextmanager
def s3() -> Iterator[str]:
    """A server with an empty bucket, and the environment that finds it; yields an address in it."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    try:
        yield f"s3://{BUCKET}"
    finally:
        server.stop()


@contextmanager
def folder_remote(scratch: Path) -> Iterator[str]:
    """A folder as remote."""
    yield str(scratch / "remote")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--s3", action="store_true", help="an S3 protocol server on loopback instead of a folder")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        os.environ["DVC_SITE_CACHE_DIR"] = str(scratch / "site")
        os.environ["DVC_NO_ANALYTICS"] = "1"
        draw(scratch / "images", chosen.images)
        with s3() if chosen.s3 else folder_remote(scratch) as remote:
            loose = round_trip(scratch, "loose", scratch / "images", f"{remote}/loose", 0)
            packed = round_trip(scratch, "packed", scratch / "images", f"{remote}/packed", chosen.shards)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    told = {"benchmark": "remote", "commit": commit.stdout.strip(), "cores": os.cpu_count(), "images": chosen.images}
    told |= {"remote": "s3" if chosen.s3 else "folder", "shards": chosen.shards, "loose": loose, "packed": packed}
    told["fewer_objects"] = round(loose["objects"] / packed["objects"], 1)
    told["faster"] = {key: round(loose[key] / packed[key], 2) for key in ("push_s", "pull_s")}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
