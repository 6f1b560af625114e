"""Metrics against slow direct implementations; null with a reason where a figure has no meaning."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from graft.core.errors import DataError
from graft.metrics.classification import METRICS, check_probabilities
from graft.metrics.outcomes import Outcomes, bins
from graft.metrics.table import MetricTable, Score


def score_all(labels: np.ndarray, probabilities: np.ndarray, names: list[str] | None = None) -> dict[str, Score]:
    check_probabilities(labels, probabilities, names)
    return METRICS.scores(labels, probabilities)


def _slow(labels: np.ndarray, p: np.ndarray) -> dict[str, float | None]:
    """Every figure from its textbook formula, one image at a time."""
    n, k = p.shape
    named = [max(range(k), key=lambda j: (p[i, j], -j)) for i in range(n)]
    cells = [[sum(labels[i] == a and named[i] == b for i in range(n)) for b in range(k)] for a in range(k)]
    true, said = [sum(row) for row in cells], [sum(row[b] for row in cells) for b in range(k)]
    present = [c for c in range(k) if true[c]]
    po, pe = sum(cells[c][c] for c in range(k)) / n, sum(true[c] * said[c] for c in range(k)) / n**2
    ranks = [
        sum(p[i, j] > p[i, labels[i]] or (p[i, j] == p[i, labels[i]] and j < labels[i]) for j in range(k))
        for i in range(n)
    ]
    bottom = math.sqrt((n**2 - sum(s**2 for s in said)) * (n**2 - sum(t**2 for t in true)))
    gaps = 0.0
    for b in range(15):
        inside = [i for i in range(n) if min(14, max(0, math.ceil(p[i].max() * 15) - 1)) == b]
        gaps += abs(sum(named[i] == labels[i] for i in inside) - sum(p[i].max() for i in inside)) / n
    several = len(present) > 1
    all_named = all(said[c] for c in present)
    precision = {c: cells[c][c] / said[c] if said[c] else 0 for c in present}
    return {
        "accuracy": po,
        "macro_f1": sum(2 * cells[c][c] / (true[c] + said[c]) for c in present) / len(present),
        "balanced_accuracy": sum(cells[c][c] / true[c] for c in present) / len(present),
        "weighted_f1": sum(true[c] * 2 * cells[c][c] / (true[c] + said[c]) for c in present) / n,
        "macro_precision": sum(precision.values()) / len(present) if all_named else None,
        "weighted_precision": sum(true[c] * precision[c] for c in present) / n if all_named else None,
        "roc_auc": sum(_slow_auc(labels, p, c) for c in present) / len(present) if several else None,
        "average_precision": sum(_slow_area(labels, p, c) for c in present) / len(present) if several else None,
        "log_loss": -sum(math.log(max(p[i, labels[i]], np.finfo(float).eps)) for i in range(n)) / n,
        "brier": sum((p[i, j] - (labels[i] == j)) ** 2 for i in range(n) for j in range(k)) / n,
        "calibration_error": gaps,
        "kappa": (po - pe) / (1 - pe) if several else None,
        "matthews": (po * n * n - pe * n * n) / bottom if several and bottom else None,
        "top_3": sum(rank < 3 for rank in ranks) / n if k > 3 else None,
        "top_5": sum(rank < 5 for rank in ranks) / n if k > 5 else None,
    }


def _slow_auc(labels: np.ndarray, p: np.ndarray, c: int) -> float:
    """Pairs of an image of the class and one of the rest that are in the right order; ties count half."""
    pairs = [(p[i, c], p[j, c]) for i in np.flatnonzero(labels == c) for j in np.flatnonzero(labels != c)]
    return sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs)


def _slow_area(labels: np.ndarray, p: np.ndarray, c: int) -> float:
    """At each threshold the precision, weighted by what recall gained there."""
    area, before = 0.0, 0.0
    for threshold in sorted(set(p[:, c]), reverse=True):
        taken = p[:, c] >= threshold
        right = sum(taken & (labels == c))
        recall = right / sum(labels == c)
        area, before = area + (recall - before) * right / sum(taken), recall
    return area


@st.composite
def _said(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n, k = draw(st.integers(1, 25)), draw(st.integers(2, 7))
    labels = draw(arrays(np.intp, n, elements=st.integers(0, k - 1)))
    # Few distinct values, so that ties happen.
    weights = draw(arrays(np.float64, (n, k), elements=st.sampled_from([0.0, 1.0, 2.0, 7.0]))) + 1e-3
    return labels, weights / weights.sum(axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(_said())
def test_every_metric_agrees_with_its_formula(said: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = said
    found, wanted = score_all(labels, probabilities), _slow(labels, probabilities)
    assert set(found) == set(wanted)
    for name, score in found.items():
        if wanted[name] is None:
            assert score.value is None and score.reason, name
            continue
        assert score.reason is None, name
        assert score.value == pytest.approx(wanted[name], abs=1e-9), name
        assert METRICS[name].low <= score.value <= METRICS[name].high


@pytest.mark.parametrize("classes", [2, 4])
def test_the_same_as_scikit_learn_on_all_classes_at_once(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 200)])
    p = rng.dirichlet(np.ones(classes), len(labels)) * 0.5 + 0.5 * np.eye(classes)[labels][:, ::-1] * 0.3
    p /= p.sum(axis=1, keepdims=True)
    found, named = {name: score.value for name, score in score_all(labels, p).items()}, p.argmax(axis=1)
    for average in ("macro", "weighted"):
        assert found[f"{average}_f1"] == pytest.approx(sk.f1_score(labels, named, average=average))
        assert found[f"{average}_precision"] == pytest.approx(sk.precision_score(labels, named, average=average))
    # Why recall has no rows of its own.
    assert found["balanced_accuracy"] == pytest.approx(sk.recall_score(labels, named, average="macro"))
    assert found["accuracy"] == pytest.approx(sk.recall_score(labels, named, average="weighted"))
    scores = p[:, 1] if classes == 2 else p
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, scores, multi_class="ovr"))
    area = sk.average_precision_score(np.eye(classes)[labels], p, average="macro")
    assert found["average_precision"] == pytest.approx(area)


def test_without_images_every_figure_is_null_with_a_reason() -> None:
    found = score_all(np.array([], dtype=np.intp), np.empty((0, 3)))
    assert {(score.value, score.reason) for score in found.values()} == {(None, "there are no test images")}


def test_single_class_gives_reasons_and_no_zero() -> None:
    found = score_all(np.zeros(4, dtype=np.intp), np.tile([0.7, 0.3], (4, 1)))
    assert found["accuracy"].value == 1.0
    assert found["roc_auc"].reason == found["average_precision"].reason == "all images are of one class"
    assert found["kappa"].reason == "all images are of one class"
    assert found["matthews"].reason == "the model names every test image alike"
    assert found["top_3"].reason == "with 2 classes the best 3 hold the right one always"


def test_a_name_never_given_has_no_precision() -> None:
    found = score_all(np.array([0, 1, 1, 2]), np.tile([0.8, 0.1, 0.1], (4, 1)))
    assert found["macro_precision"].value is found["weighted_precision"].value is None
    assert found["macro_precision"].reason == "2 classes were named for no image, so there is no precision"


@pytest.mark.parametrize(
    "probabilities",
    [[[0.6, 0.6]], [[1.2, -0.2]], [[math.nan, 1.0]], [[0.5, 0.5], [0.5, 0.5]], [0.5, 0.5]],
    ids=["sum", "range", "nan", "rows", "shape"],
)
def test_what_is_no_probability_is_refused(probabilities: list) -> None:
    with pytest.raises(DataError, match="probabilities"):
        score_all(np.array([0]), np.array(probabilities))


def test_the_row_that_is_no_probability_is_named() -> None:
    rows = np.array([[0.5, 0.5], [0.5, 0.5], [0.6, 0.6], [0.5, 0.1]])
    with pytest.raises(DataError) as refused:
        score_all(np.zeros(4, dtype=np.intp), rows, ["a.png", "b.png", "c.png", "d.png"])
    assert refused.value.message() == (
        "the model's probabilities are not probabilities: each must lie in [0, 1] and a row must sum to one; 2 of 4 "
        "rows do not, the first sums to 1.2 with values from 0.6 to 0.6\n"
        "  where: c.png\n"
        "  remedy: train the model again; its outputs are not finite or are not normalised"
    )
    with pytest.raises(DataError, match="where: image 2"):
        score_all(np.zeros(4, dtype=np.intp), rows)


def test_every_row_of_the_table_is_whole() -> None:
    labels = np.arange(12) % 6
    found = score_all(labels, np.eye(6)[labels])
    for name, metric in METRICS.rows.items():
        assert metric.name == name and metric.meaning and metric.low < metric.high
        # A perfect model reaches the better end of every metric's range.
        assert found[name].value == pytest.approx(metric.high if metric.better == "higher" else metric.low), name


def test_label_outside_the_columns_is_refused() -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        score_all(np.array([2]), np.array([[0.5, 0.5]]))


def test_bins_hold_every_image_once() -> None:
    p = np.linspace(0.5, 1.0, 101)
    found = bins(np.zeros(101, dtype=np.intp), np.stack([p, 1 - p], axis=1))
    assert sum(item.count for item in found) == 101
    assert all(item.low <= item.confidence <= item.high for item in found)


def test_table_refuses_a_name_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        MetricTable(Outcomes, METRICS["accuracy"], METRICS["accuracy"])
