"""The manifest against bare decoding, rescans, the search for near duplicates, and the memory of a million rows.

Run from the project's folder: `.venv/bin/python benchmarks/manifest.py`. Images, hashes and rows are generated. What is
compared runs in turns, and the best of each counts. `--quick` takes a tenth of everything, `--only PART` one part.
Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from graft.data import manifest as manifests
from graft.data.ingest import ingested_table
from graft.data.manifest import build_manifest, with_keys
from graft.data.near_duplicates import cluster_duplicates
from graft.data.sources.listing import Sample
from graft.data.splits.groups import group_rows
from graft.data.stats_cache import FILE, StatsCache
from graft.modalities.base import Modality
from graft.modalities.image.modality import ImageModality

ROOT = Path(__file__).resolve().parents[1]
IMAGE = ImageModality()
PROCESSES = 2
PARTS = ("speed", "search", "memory")
# Far closer than the default, the default (and that of the demo), and the largest that can be set.
DISTANCES = (15, 45, 63)
SHAPES = ((224, 224), (256, 192), (192, 256), (240, 200))


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def write_jpegs(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Unlike pictures with the 5 bits a pixel that photographs have on average."""
    rng = np.random.default_rng(seed)
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
    """Bare decoding in as many processes as the manifest is built in, started in the same way."""
    parts = [[str(file) for file in files[first : first + 64]] for first in range(0, len(files), 64)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        assert sum(pool.map(decode_barely, parts)) == len(files)


def measure_speed(scratch: Path, count: int, rounds: int) -> dict[str, object]:
    """Building, rebuilding with nothing changed, and after 1% was added and all was taken in anew."""
    files = write_jpegs(scratch / "images", count)
    pixels = sum(SHAPES[number % len(SHAPES)][0] * SHAPES[number % len(SHAPES)][1] for number in range(count))
    table = ingested_table({str(file): Sample(file, file.name, file.parent.name) for file in files})
    files = [Path(path) for path in table["path"]]
    times: dict[str, list[float]] = {name: [] for name in ("bare", "build", "rescan")}
    for number in range(rounds):
        cache = StatsCache(scratch / f"cache{number}")
        build = partial(build_manifest, table, files, IMAGE, PROCESSES, cache)
        times["bare"].append(seconds(partial(decode_all, files)))
        times["build"].append(seconds(build))
        times["rescan"] += [seconds(build) for _ in range(3)]
    copies = copy_with_more(scratch, files)
    table = ingested_table({str(file): Sample(file, file.name, "a") for file in copies})
    times["copied"] = [seconds(partial(build_manifest, table, copies, IMAGE, PROCESSES, cache))]
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
        "all_copied_and_one_percent_added_s": round(best["copied"], 3),
        "rescan_share_median": round(statistics.median(times["rescan"]) / statistics.median(times["build"]), 4),
    }


def copy_with_more(scratch: Path, files: list[Path]) -> list[Path]:
    """What `ingest` leaves to `validate`: every file is another one, 99% of them with the same content."""
    more = write_jpegs(scratch / "more", len(files) // 100, seed=1)
    copies = [scratch / "copies" / f"{number:05d}.jpg" for number in range(len(files) + len(more))]
    copies[0].parent.mkdir()
    for file, copy in zip([*files, *more], copies, strict=True):
        shutil.copyfile(file, copy)
    return copies


def measure_search(count: int, distance: int) -> dict[str, object]:
    """Random 256-bit hashes; a hundredth are copies with up to ``distance`` bits turned, and each must be found."""
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (count, 256), dtype=np.uint8)
    planted = count // 100
    copies = rng.permutation(count)[: 2 * planted].reshape(2, planted)
    bits[copies[1]] = bits[copies[0]]
    for row in copies[1]:
        bits[row, rng.permutation(256)[: rng.integers(0, distance + 1)]] ^= 1
    hashes = pd.Series([row.tobytes().hex() for row in np.packbits(bits, axis=1)], dtype="str")
    began, began_cpu = time.perf_counter(), time.process_time()
    rows = pd.DataFrame({"fingerprint": [str(row) for row in range(count)], "near_key": hashes})
    clusters = cluster_duplicates(rows, distance)
    took, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    missed = sum(int(clusters[one] != clusters[other]) for one, other in copies.T.tolist())
    times = {"s": round(took, 2), "cpu_s": round(cpu, 2)}
    return {"hashes": count, "distance": distance, **times, "planted": planted, "missed": missed}


def synthetic_rows(files: list[Path], modality: Modality, workers: int | None) -> object:
    """Rows of random statistics, without files."""
    rng = np.random.default_rng(2)
    names = [name for name, kind in IMAGE.statistics.items() if kind == "float64" and not name.startswith("depth")]
    for _ in files:
        hashes = rng.bytes(96).hex()
        sizes = {"width": 500, "height": 375, "mode": "RGB", "format": "JPEG", "frames": 1}
        keys = {"sha256": hashes[:64], "pixel_sha256": hashes[64:128], "phash": hashes[128:]}
        yield {"bytes": int(rng.integers(1 << 16)), **sizes, **keys, **dict.fromkeys(names, float(rng.random()))}


def peak_gb() -> float:
    """Most memory this process ever held, in GB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)


def measure_memory(scratch: Path, count: int) -> dict[str, object]:
    """Peak memory after each step with a manifest of ``count`` rows; must run in a process of its own."""
    figures: dict[str, object] = {"rows": count, "imports_gb": peak_gb()}
    names = [f"class_{number % 1000:03d}/image_{number:07d}.jpg" for number in range(count)]
    table = pd.DataFrame({"path": names, "label": [name[:9] for name in names]}).astype("str")
    table = table.assign(split=None, group=None, source=table["path"]).astype("str")
    files = [Path("data/raw", name) for name in names]
    del names
    figures["table_and_files_gb"] = peak_gb()
    manifests._described = synthetic_rows  # type: ignore[assignment]
    began = time.perf_counter()
    manifest = build_manifest(table, files, IMAGE, cache=StatsCache(scratch))
    figures["build_gb"], figures["build_s"] = peak_gb(), round(time.perf_counter() - began, 1)
    del table, files
    manifest.to_parquet(scratch / "manifest.parquet", index=False)
    figures["write_gb"] = peak_gb()
    figures["manifest_in_memory_gb"] = round(int(manifest.memory_usage(deep=True).sum()) / 1e9, 2)
    del manifest
    manifest = pd.read_parquet(scratch / "manifest.parquet")
    figures["read_gb"] = peak_gb()
    began = time.perf_counter()
    group_rows(with_keys(manifest, IMAGE), 15)
    figures["group_gb"], figures["group_s"] = peak_gb(), round(time.perf_counter() - began, 1)
    figures["parquet_gb"] = round((scratch / "manifest.parquet").stat().st_size / 1e9, 2)
    figures["cached_statistics_gb"] = round((scratch / FILE).stat().st_size / 1e9, 2)
    return figures


def apart(part: str, quick: bool) -> dict[str, object]:
    """One part in a process of its own, so that its memory is its own."""
    command = [sys.executable, __file__, "--only", part, *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, object] = json.loads(done.stdout.splitlines()[-1])[part]
    return figures


def measure(part: str, quick: bool) -> object:
    """The figures of one part."""
    less = 10 if quick else 1
    with tempfile.TemporaryDirectory() as scratch:
        if part == "speed":
            return measure_speed(Path(scratch), 5000 // less, 2 if quick else 4)
        if part == "memory":
            return measure_memory(Path(scratch), 1_000_000 // less)
        return [measure_search(count // less, distance) for count in (10_000, 100_000) for distance in DISTANCES]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--only", choices=PARTS, help="one part, in this process")
    chosen = parser.parse_args()
    if chosen.only:
        figures = {chosen.only: measure(chosen.only, chosen.quick)}
    else:
        figures = {part: apart(part, chosen.quick) for part in PARTS}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    print(json.dumps({"benchmark": "manifest", "commit": commit.stdout.strip(), "cores": os.cpu_count(), **figures}))


if __name__ == "__main__":
    main()
