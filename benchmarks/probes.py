"""Seconds of nested cross-validated ridge probes, and the share of heads in the time of features and probes.

Run from the project's folder: `.venv/bin/python benchmarks/probes.py`. It prints one JSON line. With `--quick` it
takes smaller sets, and photographs at 128 px instead of 224, and ends in a minute. The share is that of heads at all
eight depths of EfficientNet-Lite0 (bundled ImageNet weights), k-NN and LogME at the last, in the time of these and of
decoding the photographs of ants and bees and running the network over them. It is null where they are absent.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from graft.selection.probes.cross_validation import CrossValidation
from graft.selection.probes.knn import knn_accuracy
from graft.selection.probes.logme import logme
from graft.selection.probes.nested_folds import nested_folds
from graft.selection.probes.probe import LinearProbe
from graft.tasks.classification.probes import PROBES

ROOT = Path(__file__).resolve().parent.parent
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "hymenoptera" / "train"
FOLDS = 5
QUICK = ((240, 1280, 2), (600, 320, 10), (1500, 192, 10))
WHOLE = (*QUICK, (5000, 512, 10), (5000, 1280, 10))

Array = NDArray[np.float64]


def problem(count: int, dimensions: int, classes: int) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """Features with some signal, labels and folds, from a fixed seed."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    features = random.normal(size=(count, dimensions)) + 0.7 * np.eye(classes, dimensions)[labels]
    return features, labels, np.arange(count) // classes % FOLDS


def speed(count: int, dimensions: int, classes: int, rounds: int) -> dict[str, object]:
    """Milliseconds of one depth with one thread."""
    features, labels, folds = problem(count, dimensions, classes)
    spent = float("inf")
    with threadpool_limits(1):
        for _ in range(rounds):
            start = time.perf_counter()
            CrossValidation(PROBES["ridge"], features, labels, classes, nested_folds(labels, folds, 0)).run()
            spent = min(spent, time.perf_counter() - start)
    return {"n_d_k": [count, dimensions, classes], "ms": round(1000 * spent, 1)}


def share(size: int, rounds: int) -> dict[str, object] | None:
    """The share of heads in the time of selection on the photographs at ``size`` pixels."""
    if not PHOTOGRAPHS.is_dir():
        return None
    from graft.core.settings import Candidate
    from graft.features.cache import ArrayCache
    from graft.features.image_cache import ImageSet
    from graft.inference.pretrained import load_pretrained
    from graft.models.weights.locate import WeightsContext
    from graft.selection.candidates import extractor_for
    from graft.training.compute.devices import fabric_for

    paths = sorted(str(path.relative_to(PHOTOGRAPHS)) for path in PHOTOGRAPHS.glob("*/*.jpg"))
    labels = np.array([path.startswith("bees") for path in paths], dtype=np.int64)
    folds = np.arange(len(paths), dtype=np.int64) % FOLDS
    digests = tuple(hashlib.sha256((PHOTOGRAPHS / path).read_bytes()).hexdigest() for path in paths)
    with tempfile.TemporaryDirectory() as folder:
        candidate = Candidate("timm:tf_efficientnet_lite0", "bundled", "auto", size)
        found = load_pretrained(candidate, WeightsContext(Path(folder), True, 0))
        images, store = ImageSet(PHOTOGRAPHS, tuple(paths), digests), ArrayCache(Path(folder))
        start = time.perf_counter()
        extractor = extractor_for(images, found.preprocessing, store, fabric_for("cpu").device)
        depths = extractor.block_features(found.network)
        extraction = time.perf_counter() - start
    parts: dict[str, Callable[[], object]] = {
        "probes": lambda: LinearProbe(labels, folds, PROBES["ridge"], int(labels.max()) + 1).best_depth(depths),
        "knn": lambda: knn_accuracy(depths[-1], labels),
        "logme": lambda: logme(depths[-1], labels),
    }
    spent: dict[str, float] = dict.fromkeys(parts, float("inf"))
    for _ in range(rounds):
        for name, part in parts.items():
            start = time.perf_counter()
            part()
            spent[name] = min(spent[name], time.perf_counter() - start)
    heads = sum(spent.values())
    return {
        "images": len(paths),
        "size_px": size,
        "depths": [array.shape[1] for array in depths],
        "extraction_s": round(extraction, 3),
        "heads_s": {name: round(value, 4) for name, value in spent.items()},
        "share": round(heads / (extraction + heads), 4),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sets, photographs at 128 px")
    quick = parser.parse_args().quick
    rounds = 3 if quick else 5
    figures = [speed(*case, rounds) for case in (QUICK if quick else WHOLE)]
    heads = share(128 if quick else 224, rounds)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    head = {"benchmark": "probes", "commit": commit.stdout.strip(), "cores": os.cpu_count(), "rounds": rounds}
    print(json.dumps({**head, "ridge": figures, "heads": heads}))


if __name__ == "__main__":
    main()
