"""Test accuracy of linear heads on the last feature of EfficientNet-Lite0: what a training has to beat.

Run from the project's folder: `.venv/bin/python benchmarks/linear_probe.py FOLDER [--size 128]`. The folder holds
`train` and `test` (or `val`), each with a folder of images per class. Two heads on the same features: the probe is
scikit-learn's logistic regression on standardised features, its strength chosen by five-fold cross-validated accuracy;
the head alone is the one that graft delivers where `extract` wins. `--weights FILE` also writes the network's weights
(timm's names) and a batch of test images with their features, to hold another library's network against. Ends with one
JSON line, which names the images that the probe gets right by their SHA-256.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from graft.core.compat.openmp import wait_briefly

wait_briefly()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from drawn_sets import tested_part  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.linear_model import LogisticRegressionCV  # noqa: E402
from sklearn.model_selection import StratifiedKFold  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from graft.core.determinism import make_deterministic  # noqa: E402
from graft.core.files import sha256  # noqa: E402
from graft.core.settings import Candidate  # noqa: E402
from graft.features.cache import ArrayCache  # noqa: E402
from graft.features.image_cache import ImageSet  # noqa: E402
from graft.inference.pretrained import Pretrained, load_pretrained  # noqa: E402
from graft.modalities.image.signatures import SUFFIXES  # noqa: E402
from graft.models.weights.bundled import bundled_file, map_by_order  # noqa: E402
from graft.models.weights.locate import WeightsContext  # noqa: E402
from graft.models.weights.state_dict import read_state  # noqa: E402
from graft.models.zoo.registry import builder_for  # noqa: E402
from graft.selection.candidates import extractor_for  # noqa: E402
from graft.tasks.registry import CLASSIFICATION  # noqa: E402
from graft.training.linear_head import solve_head  # noqa: E402

ARCH = "timm:tf_efficientnet_lite0"
STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0)
FOLDS = 5
COMPARED = 8  # images whose features another library is held against


def probe_labels(train: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What scikit-learn's logistic regression says of ``rows`` (m, d), fitted to ``train`` (n, d) and ``labels``."""
    folds = StratifiedKFold(min(FOLDS, int(np.bincount(labels).min())), shuffle=True, random_state=0)
    head = LogisticRegressionCV(
        Cs=STRENGTHS, l1_ratios=(0,), cv=folds, scoring="accuracy", max_iter=1000, use_legacy_attributes=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        said: np.ndarray = make_pipeline(StandardScaler(), head).fit(train, labels).predict(rows)
    return said


def head_labels(train: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The same by the head that graft delivers where the head alone is best."""
    head = torch.nn.Linear(train.shape[1], int(labels.max()) + 1)
    solve_head(CLASSIFICATION, head, torch.from_numpy(train), labels)
    with torch.no_grad():
        said: np.ndarray = head(torch.from_numpy(rows)).argmax(1).numpy()
    return said


def measure(folder: Path, size: int | None, found: Pretrained, cache: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures, and some test images as the network gets them with its features of these."""
    began = time.perf_counter()
    sides = (folder / "train", tested_part(folder))
    files = [sorted(file for file in side.glob("*/*") if file.suffix.lower() in SUFFIXES) for side in sides]
    every = [*files[0], *files[1]]
    classes = sorted({file.parent.name for file in every})
    digests = tuple(map(sha256, every))
    images = ImageSet(folder, tuple(str(file.relative_to(folder)) for file in every), digests)
    labels = np.array([classes.index(file.parent.name) for file in every])
    extractor = extractor_for(images, found.preprocessing, ArrayCache(cache), torch.device("cpu"))
    features = extractor.block_features(found.network)[-1]
    first = len(files[0])
    train, known, rows, truth = features[:first], labels[:first], features[first:], labels[first:]
    right = probe_labels(train, known, rows) == truth
    figures = {
        "n_train": first,
        "n_test": len(truth),
        "probe_accuracy": round(float(right.mean()), 4),
        "head_accuracy": round(float((head_labels(train, known, rows) == truth).mean()), 4),
        "seconds": round(time.perf_counter() - began, 1),
        "right": sorted(digest for digest, hit in zip(digests[first:], right, strict=True) if hit),
    }
    shown = slice(first, first + COMPARED)
    pixels = found.preprocessing.collate(extractor.images[shown])
    return figures, {"pixels": pixels, "features": torch.from_numpy(features[shown])}


def state_of_timm() -> dict[str, torch.Tensor]:
    """The bundled weights by timm's names."""
    file = bundled_file(ARCH)
    return map_by_order(read_state(file), builder_for(ARCH).model(ARCH).state_dict(), file)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, help="side of the input in pixels; the weights' own without it")
    parser.add_argument("--weights", type=Path, help="where to write weights, images and features as .safetensors")
    given = parser.parse_args()
    make_deterministic()
    with tempfile.TemporaryDirectory() as scratch:
        context = WeightsContext(Path(scratch), offline=True, seed=0)
        found = load_pretrained(Candidate(ARCH, "bundled", "last", given.size), context)
        figures, compared = measure(given.folder.resolve(), given.size, found, Path(scratch) / "cache")
    if given.weights is not None:
        state = {f"weights/{name}": value.contiguous() for name, value in state_of_timm().items()}
        save_file({**state, "pixels": compared["pixels"].contiguous(), "features": compared["features"]}, given.weights)
    print(json.dumps({"benchmark": "linear_probe", **figures}))


if __name__ == "__main__":
    main()
