"""Planted predictions: labels and probabilities whose figures are known, and an evaluation made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from graft.calibration.fitted_trust import FittedTrust
from graft.evaluation.compare.control_folds import FoldComparison
from graft.evaluation.compare.transfer import agreed, compare_with_control
from graft.evaluation.cost import PredictionCost
from graft.evaluation.evaluation import Evaluation, ModelOutputs, evaluate
from graft.evaluation.held_out import HeldOutSet
from graft.inference.artifact import Artifact
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.reporting.context import ReportContext
from graft.stats.bootstrap import Resampling

COST = PredictionCost(
    parameters=1_234_567,
    size_mb=4.9,
    latency_ms=3.2,
    latency_p95_ms=5.5,
    runs=30,
    threads=2,
    device="cpu",
    gmacs=0.25,
    images_per_s=410.0,
    batch=32,
    load_ms=85.0,
    peak_memory_mb=512.0,
    reason=None,
)


def sure_of(named: NDArray[np.intp], classes: int, confidence: float = 0.9) -> NDArray[np.float64]:
    """Probabilities (n, classes) that give ``confidence`` to the class each image is named."""
    out = np.full((len(named), classes), (1 - confidence) / (classes - 1))
    out[np.arange(len(named)), named] = confidence
    return out


def named_rightly(labels: NDArray[np.intp], right: NDArray[np.bool_], classes: int) -> NDArray[np.intp]:
    """What a model says that is right exactly on ``right`` and names the next class elsewhere."""
    return np.where(right, labels, (labels + 1) % classes)


def judged(
    held_out: HeldOutSet,
    outputs: NDArray[np.float64],
    count: int,
    control: NDArray[np.float64] | None = None,
    *,
    few: NDArray[np.float64] | None = None,
    trust: FittedTrust | None = None,
    folds: FoldComparison | None = None,
    **known: Any,
) -> Evaluation:
    """The evaluation of a model on these images, with ``count`` resamples, as the stage puts it together.

    ``control`` is the control, and ``few`` both models on five labels per class; ``known`` is what else is known of the
    comparison.
    """
    resampling = Resampling(held_out.units, count, 0)
    whole = compare_with_control(held_out.labels, outputs, control, resampling, held_out.labels_per_class)
    found = [replace(agreed(whole, folds), **known)]
    if few is not None:
        found.insert(0, compare_with_control(held_out.labels, outputs, few, resampling, 5))
    said = ModelOutputs(outputs, trust or FittedTrust())
    return evaluate(held_out, said, COST, resampling, transfer=found)


@pytest.fixture
def planted() -> Callable[..., Evaluation]:
    """Make an evaluation of ``n`` images in ``classes`` classes where every tenth is named wrongly."""

    def make(
        n: int = 60, classes: tuple[str, ...] = ("ant", "bee", "<i>wasp</i> $1"), tested: int | None = None
    ) -> Evaluation:
        k = len(classes)
        labels = np.arange(n) % (tested or k)
        model = sure_of(named_rightly(labels, np.arange(n) % 10 != 0, k), k)
        scratch = sure_of(named_rightly(labels, np.arange(n) % 2 == 0, k), k)
        paths = tuple(f"{classes[label]}/{i}.png" for i, label in enumerate(labels))
        held_out = HeldOutSet(classes, paths, labels, np.arange(n), np.full(k, 20))
        return judged(held_out, model, 200, scratch, few=scratch)

    return make


def context_of(found: Evaluation) -> ReportContext:
    """A report with all else as empty as it may be."""
    artifact = Artifact(
        ("ant", "bee"),
        "resnet18",
        "source",
        3,
        ImagePreprocessor(Geometry(32, 0.875, "bicubic"), (0.5,) * 3, (0.5,) * 3),
    )
    return ReportContext(found, artifact, {"seed": 0, "data.train_per_class": None})
