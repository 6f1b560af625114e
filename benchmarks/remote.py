"""`dvc push` and `dvc pull` of many small images: as loose files, and packed into tar files with an index.

Run from the project's folder: `.venv/bin/python benchmarks/remote.py [--images 20000] [--shards 64] [--s3]`. The remote
is a folder, or with `--s3` a real S3 protocol server on loopback, to which every object is a request. Images are packed
as `data.pack` does it, and checked after the pull by reading them from the tar files. Taking them in, as files or
packed, counts as part of a push. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from graft.core.files import atomic_dir
from graft.core.packed_files import open_folder
from graft.data.packing import pack_files

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


def take_in(images: Path, target: Path, shards: int) -> None:
    """What `ingest` does with them: a file for each, or with ``shards`` packed."""
    files = {path.relative_to(images).as_posix(): path for path in sorted(images.rglob("*.png"))}
    with atomic_dir(target) as folder:
        if shards:
            pack_files(files, folder, shards)
        else:
            shutil.copytree(images, folder, dirs_exist_ok=True)


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
    take_in(images, here / "data", shards)
    taken = time.perf_counter() - began
    figures: dict[str, float | int] = {"objects": 1 + sum(path.is_file() for path in (here / "data").rglob("*"))}
    figures["push_s"] = round(taken + dvc(here, "add", "data") + dvc(here, "push"), 2)
    (there / "data.dvc").write_bytes((here / "data.dvc").read_bytes())
    figures["pull_s"] = round(dvc(there, "pull"), 2)
    arrived = open_folder(there / "data")
    files = sorted(images.rglob("*.png"))
    # Nothing is unpacked: whatever reads images reads these where they lie.
    assert all((arrived / path.relative_to(images).as_posix()).read_bytes() == path.read_bytes() for path in files)
    content = files[0].read_bytes()
    Image.new("L", (SIDE, SIDE)).save(files[0])
    began = time.perf_counter()
    take_in(images, here / "data", shards)
    taken = time.perf_counter() - began
    figures["push_after_one_change_s"] = round(taken + dvc(here, "add", "data") + dvc(here, "push"), 2)
    files[0].write_bytes(content)
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
