"""The report's own tables, as text ready for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graft.evaluate import wording
from graft.evaluate.exhibits import Column, Row, Table
from graft.evaluate.metrics import METRICS, bins
from graft.evaluate.tables import most_confused
from graft.evaluate.wording import area, cell, number, percent, points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graft.evaluate.result import Evaluation
    from graft.evaluate.slices import Slice


def curve_rows(found: Evaluation) -> Table:
    """Accuracy of both at each count of labels, with the paired difference."""
    titles = ("labels", "transferred", "scratch", "difference (pp)")
    head = (*(Column(title, number=True) for title in titles), Column("verdict"))
    rows = [
        Row(
            (
                cell(point.labels_per_class),
                percent(point.transferred.accuracy),
                percent(point.control.accuracy),
                f"{points(point.difference)} ({wording.point_interval(point.interval)})",
                point.verdict,
            )
        )
        for point in found.curve
        if point.transferred and point.control and point.interval and point.difference is not None
    ]
    return Table(head, tuple(rows))


def confused_rows(found: Evaluation) -> Table:
    """The pairs of classes that are most often confused."""
    head = (Column("true"), Column("predicted"), Column("images", number=True), Column("of the class", number=True))
    pairs = most_confused(found.held_out.classes, found.confusion)
    return Table(head, tuple(Row((x.true, x.predicted, f"{x.count:,}", percent(x.share))) for x in pairs))


def classes_rows(found: Evaluation) -> Table:
    """Counts and figures of every class."""
    titles = ("train", "test", "precision", "recall", "F1", "ROC AUC")
    head = (Column("class"), *(Column(title, number=True) for title in titles))
    rows = [
        (
            x.name,
            f"{x.n_train:,}",
            f"{x.n_test:,}",
            *map(percent, (x.precision, x.recall, x.f1)),
            area(x.roc_auc),
        )
        for x in found.classes
    ]
    return Table(head, tuple(Row(row) for row in rows))


def band_rows(found: Evaluation) -> Table:
    """The bands of confidence of the reliability diagram, surest first."""
    titles = ("images", "confidence", "named rightly")
    head = (Column("band"), *(Column(title, number=True) for title in titles))
    rows = [
        (
            f"{100 * band.low:.0f}–\u2060{band.high:.0%}",
            f"{band.count:,}",
            percent(band.confidence),
            percent(band.accuracy),
        )
        for band in reversed(bins(found.held_out.labels, found.probabilities))
    ]
    return Table(head, tuple(Row(row) for row in rows))


def coverage_rows(found: Evaluation, threshold: float) -> Table:
    """What is answered, and how often rightly, at some confidences and at the model's own threshold."""
    head = tuple(Column(title, number=True) for title in ("at least so sure", "answered", "of these right"))
    confidence = found.probabilities.max(axis=1, initial=0.0)
    right = found.probabilities.argmax(axis=1) == found.held_out.labels
    rows = []
    for least in sorted({0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, threshold}):
        sure = confidence >= least
        share = percent(float(right[sure].mean())) if sure.any() else "–"
        own = "the model's own threshold" if least == threshold else ""
        rows.append(Row((percent(least), percent(float(sure.mean())), share), bool(own), own))
    return Table(head, tuple(rows))


def slice_rows(found: Sequence[Slice]) -> Table:
    """Every slice, weak ones first and marked."""
    head = (
        Column("slice", words=True),
        *(Column(title, number=True) for title in ("images", "accuracy", "95% interval")),
        Column("verdict"),
    )
    rows = []
    for item in found:
        verdict = "weak" if item.weak else "not weak" if item.compared else "too few to say"
        figures = (f"{item.n:,}", percent(item.accuracy), f"{percent(item.low)} to {percent(item.high)}")
        rows.append(Row((f"{item.fact}, {item.name}", *figures, verdict), item.weak))
    return Table(head, tuple(rows))


def metrics_rows(found: Evaluation) -> Table:
    """Every metric, with its interval, direction, range and meaning."""
    head = (
        Column("metric"),
        *(Column(title, number=True) for title in ("value", "95% interval")),
        *(Column(title) for title in ("better", "range")),
    )
    rows = []
    for name, metric in METRICS.items():
        score, band = found.scores[name], found.intervals.get(name)
        value = "–" if score.value is None else f"{score.value:.4f}"
        spread = "–" if band is None else f"{band.low:.4f} to {band.high:.4f}"
        meaning = metric.meaning if score.reason is None else f"{metric.meaning}. Not computed: {score.reason}"
        limits = f"{number(metric.low)} to {number(metric.high)}".replace("-", "−")
        rows.append(Row((wording.metric_name(name), value, spread, metric.better, limits), note=meaning))
    return Table(head, tuple(rows))
