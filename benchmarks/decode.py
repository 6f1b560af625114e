"""Speed of decoding large JPEGs at a fraction of their size, and whether the labels stay.

Run from the project's folder: `.venv/bin/python benchmarks/decode.py`. It makes JPEGs of 12 megapixels in memory, from
the photographs in ../shared/data/hymenoptera, or from noise where that is absent: smooth ones, and ones with a camera's
noise, which take more bytes. Each is brought to the input of EfficientNet-Lite0 (bundled weights, shorter side 256
pixels) by a full decode and by the one that graft uses, in turn, and the network names both. `--quick` takes 8 images.
Ends with one JSON line; ratios are of summed times, each the best of three.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from graft.core.progress import track
from graft.modalities.image.decode import decode
from graft.models.weights.bundled import bundled_file, map_by_order
from graft.models.weights.state_dict import read_state
from graft.models.zoo.registry import builder_for

ROOT = Path(__file__).resolve().parents[1]
PHOTOGRAPHS = ROOT.parent / "shared/data/hymenoptera"
ARCH = "timm:tf_efficientnet_lite0"
ANT, BEE = 310, 309  # ImageNet's classes
MEGAPIXELS = 12
ROUNDS = 3


def sources(count: int) -> Iterator[Image.Image]:
    """Photographs of both classes in turn, or generated pictures."""
    if PHOTOGRAPHS.is_dir():
        ants, bees = (sorted(PHOTOGRAPHS.glob(f"*/{name}/*.jpg")) for name in ("ants", "bees"))
        pairs = [path for pair in zip(ants, bees, strict=False) for path in pair]
        yield from (decode(path) for path in pairs[:count])
        return
    rng = np.random.default_rng(0)
    for _ in range(count):
        layers = [Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for side in (5, 20, 80, 320)]
        mixed = np.mean([np.asarray(layer.resize((640, 480), Image.Resampling.BICUBIC)) for layer in layers], axis=0)
        yield Image.fromarray(mixed.astype(np.uint8))


def large_jpeg(image: Image.Image, noise: float, quality: int, seed: int) -> bytes:
    """``image`` at 12 megapixels, with normal noise of so many grey levels, as a JPEG."""
    scale = math.sqrt(MEGAPIXELS * 1e6 / (image.width * image.height))
    large = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    if noise:
        pixels = np.asarray(large, np.float32)
        pixels = pixels + np.random.default_rng(seed).standard_normal(pixels.shape, np.float32) * noise
        large = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    large.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(count: int, noise: float, quality: int) -> dict[str, object]:
    """All figures for one kind of file."""
    model = builder_for(ARCH).model(ARCH).eval()
    model.load_state_dict(map_by_order(read_state(bundled_file(ARCH)), model.state_dict(), bundled_file(ARCH)))
    preprocessing = builder_for(ARCH).preprocessing(ARCH, None)
    geometry = preprocessing.geometry
    roads: dict[str, Callable[[bytes], object]] = {
        "full_decode": decode,
        "decode": lambda data: decode(data, least_side=geometry.least_side),
        "full_to_input": lambda data: geometry.apply(decode(data)),
        "to_input": geometry.load,
    }
    # The third is there to compare with: the same with half the margin.
    inputs: dict[str, Callable[[bytes], np.ndarray]] = {
        "full": lambda data: geometry.apply(decode(data)),
        "graft": geometry.load,
        "half_margin": lambda data: geometry.apply(decode(data, least_side=geometry.least_side // 2)),
    }
    spent = dict.fromkeys(roads, 0.0)
    logits: dict[str, list[np.ndarray]] = {name: [] for name in inputs}
    size = 0
    for seed, image in enumerate(track(sources(count), f"noise {noise:g}", total=count)):
        data = large_jpeg(image, noise, quality, seed)
        size += len(data)
        rounds = [{name: seconds(partial(road, data)) for name, road in roads.items()} for _ in range(ROUNDS)]
        for name in roads:
            spent[name] += min(times[name] for times in rounds)
        for name, load in inputs.items():
            with torch.inference_mode():
                logits[name].append(model(preprocessing.normalise(torch.from_numpy(load(data)[None])))[0].numpy())
    return {
        "images": count,
        "mean_mb": round(size / count / 1e6, 2),
        "ms_per_image": {name: round(1000 * value / count, 1) for name, value in spent.items()},
        "speed_of_decode": round(spent["full_decode"] / spent["decode"], 2),
        "speed_to_input": round(spent["full_to_input"] / spent["to_input"], 2),
        "labels": {name: agreement(logits["full"], logits[name]) for name in ("graft", "half_margin")},
    }


def agreement(full: list[np.ndarray], other: list[np.ndarray]) -> dict[str, float]:
    """Shares of images with equal labels, and the mean change of the probability of the full decode's label."""
    one, two = (torch.from_numpy(np.stack(rows)) for rows in (full, other))
    top = one.argmax(dim=1, keepdim=True)
    change = (one.softmax(1).gather(1, top) - two.softmax(1).gather(1, top)).abs()
    ants = [rows[:, ANT] > rows[:, BEE] for rows in (one, two)]
    return {
        "same_of_1000": round(float((top[:, 0] == two.argmax(dim=1)).float().mean()), 4),
        "same_ant_or_bee": round(float((ants[0] == ants[1]).float().mean()), 4),
        "mean_change_of_probability": round(float(change.mean()), 4),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 images instead of 40")
    count = 8 if parser.parse_args().quick else 40
    torch.set_num_threads(1)
    kinds = {"smooth_q85": (0.0, 85), "noisy_q85": (3.0, 85), "noisy_q95": (3.0, 95)}
    figures = {name: measure(count, noise, quality) for name, (noise, quality) in kinds.items()}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    head = {"benchmark": "decode", "commit": commit.stdout.strip(), "cores": os.cpu_count(), "megapixels": MEGAPIXELS}
    print(json.dumps({**head, "photographs": PHOTOGRAPHS.is_dir(), **figures}))


if __name__ == "__main__":
    main()
