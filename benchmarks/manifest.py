"""Speed of the manifest against bare decoding, of a rescan, of the search for near duplicates; memory of a million rows.

Run from the project's folder: `.venv/bin/python benchmarks/manifest.py`. Images, hashes and rows are generated. What is
compared runs in turns, and the best of each counts. `--quick` takes a tenth of everything. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from graft.images.facts_cache import FactsCache
from graft.images.identity import SETTLED_NS
from graft.images.intake import place_images, table_of
from graft.images.manifest import build_manifest
from graft.images.records import Record

ROOT = Path(__file__).resolve().parents[1]
PROCESSES = 2
SHAPES = ((224, 224), (256, 192), (192, 256), (240, 200))


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def write_jpegs(folder: Path, count: int) -> list[Path]:
    """Unlike pictures with the 5 bits a pixel that photographs have on average."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(count):
        width, height = SHAPES[number % len(SHAPES)]
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((width, height), 3)
        grain = rng.normal(0, 11, (height, width, 1)) + rng.normal(0, 3, (height, width, 3))
        path = folder / f"{'ab'[number % 2]}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)
        files.append(path)
    return files


def decode_barely(paths: list[str]) -> int:
    """What no reader of images can do without: open, decode all of it, RGB."""
    for path in paths:
        with Image.open(path) as image:
            image.convert("RGB")
    return len(paths)


def decode_all(files: list[Path]) -> None:
    parts = [[str(file) for file in files[first : first + 64]] for first in range(0, len(files), 64)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        assert sum(pool.map(decode_barely, parts)) == len(files)


def measure_speed(scratch: Path, count: int, rounds: int) -> dict[str, object]:
    """Building, rebuilding with nothing changed, and after 1% was added and all was taken in anew."""
    files = write_jpegs(scratch / "images", count)
    pixels = sum(SHAPES[number % len(SHAPES)][0] * SHAPES[number % len(SHAPES)][1] for number in range(count))
    table = table_of([Record(file, file.name, file.parent.name) for file in files], [str(file) for file in files])
    files = [Path(path) for path in table["path"]]
    time.sleep(SETTLED_NS / 1e9)
    times: dict[str, list[float]] = {name: [] for name in ("bare", "build", "rescan")}
    for number in range(rounds):
        cache = FactsCache(scratch / f"cache{number}")
        times["bare"].append(seconds(lambda: decode_all(files)))
        times["build"].append(seconds(lambda: build_manifest(table, files, PROCESSES, cache)))
        times["rescan"] += [seconds(lambda: build_manifest(table, files, PROCESSES, cache)) for _ in range(3)]
    best = {name: min(values) for name, values in times.items()}
    return {
        "images": count,
        "bits_per_pixel": round(8 * sum(file.stat().st_size for file in files) / pixels, 1),
        "bare_decoding_per_s": round(count / best["bare"]),
        "build_per_s": round(count / best["build"]),
        "build_to_bare": round(best["bare"] / best["build"], 3),
        "build_to_bare_of_rounds": [round(a / b, 2) for a, b in zip(times["bare"], times["build"], strict=True)],
        "rescan_s": round(best["rescan"], 3),
        "rescan_share": round(best["rescan"] / best["build"], 4),
        "rescan_share_median": round(statistics.median(times["rescan"]) / statistics.median(times["build"]), 4),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure_speed(Path(scratch), 500 if quick else 5000, 2 if quick else 3)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    print(json.dumps({"benchmark": "manifest", "commit": commit.stdout.strip(), "cores": os.cpu_count(), **figures}))


if __name__ == "__main__":
    main()
