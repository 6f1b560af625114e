"""Speed of cross-validated ridges from shared Gram matrices, and the share of heads in the time of selection.

Run from the project's folder: `.venv/bin/python benchmarks/probes.py`. It prints one JSON line. With `--quick` it takes
smaller sets, and photographs at 128 px instead of 224, and ends in a minute.

The protocol is the same on all three roads: a ridge for each of five folds, whose strength, one of seven, is chosen on
the folds inside its training part, with the scaler fitted anew to each training part; all must predict the same.
`shared` is graft's. `refit` standardises each training part anew, takes its Gram matrix (or that of its rows where they
are fewer) once for all strengths, and solves by Cholesky: the same algebra, nothing shared. `sklearn` is what one
writes first: StandardScaler and Ridge for each training part and strength. One thread, interleaved, best of n.

The share is that of heads at all eight depths of EfficientNet-Lite0 (bundled ImageNet weights), k-NN and LogME at the
last, in the time of these and of decoding the photographs of ants and bees and running the network over them, with
all cores. It is null where the photographs are absent.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from graft.selection.nested_folds import nest
from graft.selection.probes.cross_validation import each_cross_validated
from graft.selection.probes.knn import knn_accuracy
from graft.selection.probes.logme import logme
from graft.selection.probes.probe import probe_auto
from graft.selection.probes.ridge import ALPHAS, targets_of

ROOT = Path(__file__).resolve().parent.parent
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "hymenoptera" / "train"
FOLDS = 5
QUICK = ((240, 1280, 2), (600, 320, 10), (1500, 192, 10))
WHOLE = (*QUICK, (5000, 512, 10), (5000, 1280, 10))

Array = NDArray[np.float64]
Fit = Callable[[Array, Array, Array, Sequence[float]], list[Array]]


def problem(count: int, dimensions: int, classes: int) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """Features with some signal, labels and folds, from a fixed seed."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    features = random.normal(size=(count, dimensions)) + 0.7 * np.eye(classes, dimensions)[labels]
    return features, labels, np.arange(count) // classes % FOLDS


def by_gram(train: Array, targets: Array, test: Array, alphas: Sequence[float]) -> list[Array]:
    """Scores at each strength; one Gram matrix, of features or of rows, and a Cholesky decomposition per strength."""
    from scipy.linalg import cho_factor, cho_solve

    mean, scale = train.mean(axis=0), train.std(axis=0)
    x, z, middle = (train - mean) / scale, (test - mean) / scale, targets.mean(axis=0)
    wide = x.shape[1] > x.shape[0]
    matrix, right = (x @ x.T, targets - middle) if wide else (x.T @ x, x.T @ (targets - middle))
    rows = z @ x.T if wide else z
    found = []
    for alpha in alphas:
        raised = matrix.copy()
        raised.flat[:: len(raised) + 1] += alpha
        factor = cho_factor(raised.T, lower=True, overwrite_a=True, check_finite=False)
        found.append(rows @ cho_solve(factor, right, check_finite=False) + middle)
    return found


def by_sklearn(train: Array, targets: Array, test: Array, alphas: Sequence[float]) -> list[Array]:
    """Scores at each strength; scaler and ridge of scikit-learn for each."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    heads = (make_pipeline(StandardScaler(), Ridge(alpha)) for alpha in alphas)
    return [head.fit(train, targets).predict(test) for head in heads]


def refitted(fit: Fit, features: Array, labels: NDArray[np.int64], folds: NDArray[np.int64]) -> Array:
    """Out-of-fold scores (n, k) with everything fitted anew to each training part."""
    targets = targets_of(labels, int(labels.max()) + 1)
    scores = np.empty_like(targets)
    for fold in range(FOLDS):
        losses = np.zeros(len(ALPHAS))
        for other in (number for number in range(FOLDS) if number != fold):
            train, test = (folds != fold) & (folds != other), folds == other
            found = fit(features[train], targets[train], features[test], ALPHAS)
            losses += [np.sum((one - targets[test]) ** 2) for one in found]
        test, best = folds == fold, ALPHAS[int(losses.argmin())]
        scores[test] = fit(features[~test], targets[~test], features[test], (best,))[0]
    return scores


def shared(features: Array, labels: NDArray[np.int64], folds: NDArray[np.int64]) -> Array:
    """Out-of-fold scores (n, k) by graft."""
    return each_cross_validated([features], labels, nest(labels, folds, 0), "ridge")[0].scores


def speed(count: int, dimensions: int, classes: int, rounds: int) -> dict[str, object]:
    """Milliseconds of the three roads, and how many times as long as graft's the others take."""
    data = problem(count, dimensions, classes)
    roads: dict[str, Callable[[], Array]] = {
        "shared": lambda: shared(*data),
        "refit": lambda: refitted(by_gram, *data),
        "sklearn": lambda: refitted(by_sklearn, *data),
    }
    spent: dict[str, float] = dict.fromkeys(roads, float("inf"))
    scores: dict[str, Array] = {}
    with threadpool_limits(1):
        for _ in range(rounds):
            for name, road in roads.items():
                start = time.perf_counter()
                scores[name] = road()
                spent[name] = min(spent[name], time.perf_counter() - start)
    for name in ("refit", "sklearn"):
        assert np.allclose(scores[name], scores["shared"], rtol=1e-6, atol=1e-8), f"{name} has other scores"
        assert np.array_equal(scores[name].argmax(1), scores["shared"].argmax(1)), f"{name} has other predictions"
    return {
        "n_d_k": [count, dimensions, classes],
        "ms": {name: round(1000 * value, 1) for name, value in spent.items()},
        "refit_over_shared": round(spent["refit"] / spent["shared"], 2),
        "sklearn_over_shared": round(spent["sklearn"] / spent["shared"], 2),
        "same_scores": True,
    }


def share(size: int, rounds: int) -> dict[str, object] | None:
    """The share of heads in the time of selection on the photographs at ``size`` pixels."""
    if not PHOTOGRAPHS.is_dir():
        return None
    from graft.core.settings import Candidate
    from graft.features.cache import Store
    from graft.features.image_cache import ImageSet
    from graft.models.weights.weights import WeightsContext, pretrained
    from graft.selection.candidates import extractor_for
    from graft.training.devices import fabric_for

    paths = sorted(str(path.relative_to(PHOTOGRAPHS)) for path in PHOTOGRAPHS.glob("*/*.jpg"))
    labels = np.array([path.startswith("bees") for path in paths], dtype=np.int64)
    folds = np.arange(len(paths), dtype=np.int64) % FOLDS
    digests = tuple(hashlib.sha256((PHOTOGRAPHS / path).read_bytes()).hexdigest() for path in paths)
    with tempfile.TemporaryDirectory() as folder:
        candidate = Candidate("timm:tf_efficientnet_lite0", "bundled", "auto", size)
        found = pretrained(candidate, WeightsContext(Path(folder), True, 0))
        images, store = ImageSet(PHOTOGRAPHS, tuple(paths), digests), Store(Path(folder))
        start = time.perf_counter()
        extractor = extractor_for(images, found.preprocessing, store, fabric_for("cpu").device)
        depths = extractor.every_depth(found.network)
        extraction = time.perf_counter() - start
    parts: dict[str, Callable[[], object]] = {
        "probes": lambda: probe_auto(depths, labels, folds, 0),
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
    worst = min(float(str(figure["refit_over_shared"])) for figure in figures)
    print(json.dumps({**head, "least_refit_over_shared": worst, "ridge": figures, "heads": heads}))


if __name__ == "__main__":
    main()
