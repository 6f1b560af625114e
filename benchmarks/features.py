"""Extraction of features against the sum of its parts, cold, warm, with 1% new images, and at every depth.

Run from the project's folder: `.venv/bin/python benchmarks/features.py`. Photographs are those of
../shared/data/hymenoptera, or generated JPEGs where that is absent; the network is EfficientNet-Lite0 with its bundled
weights at 224 px. What is compared runs in turns, and the best of each counts; every cold run has an empty cache. The
parts are decoding by one thread divided by the cores, and the forward pass over images in memory with all cores, in
batches of the size of those tried that is fastest here. `--quick` takes 128 px and two rounds. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from graft.core.determinism import available_cores, make_deterministic
from graft.core.files import sha256
from graft.core.settings import Candidate
from graft.features.cache import ArrayCache
from graft.features.extraction import Extractor
from graft.features.image_cache import ImageSet, decoded
from graft.inference.pretrained import load_pretrained
from graft.modalities.image.preprocessing import ImagePreprocessor
from graft.models.backbone import Network
from graft.models.weights.locate import WeightsContext

ROOT = Path(__file__).resolve().parents[1]
PHOTOGRAPHS = ROOT.parent / "shared/data/hymenoptera"
BATCHES = (4, 16, 64)
CPU = torch.device("cpu")


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def take_images(folder: Path, count: int) -> list[Path]:
    """Photographs, or generated pictures of their size where there are none."""
    if PHOTOGRAPHS.is_dir():
        return sorted(PHOTOGRAPHS.rglob("*.jpg"))[:count]
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375), 3)
        noisy = np.asarray(coarse) + rng.normal(0, 8, (375, 500, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05d}.jpg", quality=90)
    return sorted(folder.glob("*.jpg"))


def set_of(files: list[Path]) -> ImageSet:
    """The files with the hashes that a manifest would hold."""
    return ImageSet(Path("/"), tuple(str(file.resolve()) for file in files), tuple(sha256(file) for file in files))


def extract(images: ImageSet, network: Network, preprocessing: ImagePreprocessor, cache: Path) -> list[np.ndarray]:
    """What selection does with a candidate, from files to the features of every depth."""
    store = ArrayCache(cache)
    array = decoded(images, preprocessing.geometry, store)
    return Extractor(array, images.key(preprocessing.geometry), preprocessing, store, CPU).block_features(network)


def forward(network: Network, preprocessing: ImagePreprocessor, array: np.ndarray, batch: int) -> None:
    """A plain forward pass over images in memory that gives the pooled output of every block."""
    with torch.inference_mode():
        for start in range(0, len(array), batch):
            list(network.pooled(preprocessing.normalise(torch.from_numpy(array[start : start + batch]))))


class LastAlone(torch.nn.Module):
    """A network seen by the extractor as one that has only its last feature."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def tail(self, start: int) -> torch.nn.Sequential:
        """All of it."""
        return torch.nn.Sequential(self)

    def pooled(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The last feature."""
        return [self.network.features(images)]


def measure(size: int, count: int, rounds: int, scratch: Path) -> dict[str, object]:
    """All figures."""
    candidate = Candidate("timm:tf_efficientnet_lite0", "bundled", size=size)
    found = load_pretrained(candidate, WeightsContext(scratch, True, 0))
    network, preprocessing = found.network.eval(), found.preprocessing
    images = set_of(take_images(scratch, count))
    count, geometry = len(images.paths), preprocessing.geometry
    new = max(1, round(count / 100))
    before = ImageSet(images.root, images.paths[new:], images.digests[new:])
    array = np.array(decoded(images, geometry, ArrayCache(scratch / "array")))
    trial = {batch: partial(forward, network, preprocessing, array[:64], batch) for batch in BATCHES}
    batch = min(BATCHES, key=lambda batch: min(seconds(trial[batch]) for _ in range(3)))
    times: dict[str, list[float]] = {}

    def took(name: str, work: Callable[[], object]) -> None:
        times.setdefault(name, []).append(seconds(work))

    for number in range(rounds):
        cache = scratch / f"cache{number}"
        took("decode", lambda: [geometry.load(images.root / path) for path in images.paths])
        took("forward", partial(forward, network, preprocessing, array, batch))
        took("cold", partial(extract, images, network, preprocessing, cache))
        for _ in range(3):
            took("warm", partial(extract, images, network, preprocessing, cache))
        extract(before, network, preprocessing, scratch / "more")
        took("more", partial(extract, images, network, preprocessing, scratch / "more"))
        for name, part in (("every", network), ("last", LastAlone(network))):
            over = Extractor(array, f"{name}{number}", preprocessing, ArrayCache(scratch / "depth"), CPU)
            took(name, partial(over.block_features, part))
        for folder in (cache, scratch / "more", scratch / "depth"):
            shutil.rmtree(folder)
    best = {name: min(values) for name, values in times.items()}
    parts = best["decode"] / available_cores() + best["forward"]
    return {
        "images": count,
        "size": size,
        "real": PHOTOGRAPHS.is_dir(),
        "decode_one_thread_s": round(best["decode"], 2),
        "forward_s": round(best["forward"], 2),
        "forward_batch": batch,
        "cold_s": round(best["cold"], 2),
        "cold_to_parts": round(best["cold"] / parts, 3),
        "warm_s": round(best["warm"], 4),
        "warm_share": round(best["warm"] / best["cold"], 4),
        "new_images": new,
        "new_s": round(best["more"], 3),
        "new_share": round(best["more"] / best["cold"], 4),
        "every_depth_s": round(best["every"], 2),
        "last_alone_s": round(best["last"], 2),
        "every_to_last": round(best["every"] / best["last"], 3),
        "cold_to_parts_of_rounds": [
            round(cold / (decode / available_cores() + run), 2)
            for cold, decode, run in zip(times["cold"], times["decode"], times["forward"], strict=True)
        ],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="128 px and two rounds")
    parser.add_argument("--images", type=int, default=398, help="how many images at most")
    chosen = parser.parse_args()
    make_deterministic()
    size, rounds = (128, 2) if chosen.quick else (224, 4)
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(size, chosen.images, rounds, Path(scratch))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    print(json.dumps({"benchmark": "features", "commit": commit.stdout.strip(), "cores": os.cpu_count(), **figures}))


if __name__ == "__main__":
    main()
