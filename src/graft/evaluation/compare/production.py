"""The new model against the production model on the same test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.errors import WeightsError
from graft.metrics.classification import METRICS
from graft.metrics.formatting import interval, percent, point_interval, points
from graft.metrics.scorer import Scorer, scorer
from graft.stats.bootstrap import Interval, Resampling, pair_of, percentile
from graft.stats.paired import PairedTest, compare_pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from graft.inference.predictor import Predictor

_BETTER = {"first": "new", "second": "production", "undecided": "undecided"}
_VERDICT = {
    "first": "the new model is better",
    "second": "the new model is worse",
    "undecided": "these images do not show that either is better",
}


@dataclass(frozen=True)
class ProductionModel:
    """The production model.

    Attributes:
        version: see :func:`graft.inference.package.version_of`.
        name: its architecture in words.
        model: it, loaded; None where it cannot be compared.
        reason: why it cannot.
        note: what to keep in mind where it can, such as that it was trained on other images.
    """

    version: str
    name: str
    model: Predictor | None
    reason: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class MetricGain:
    """By how much the new model is better by a metric; of a loss, by how much its own is smaller.

    ``value`` is None where these images do not have the metric, and ``interval``, paired, where there is none.
    """

    scorer: Scorer
    value: float | None
    interval: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Its part of the section ``production``."""
        return {"metric": self.scorer.metric.name, "gain": self.value, "gain_ci95": pair_of(self.interval)}


@dataclass(frozen=True)
class ProductionComparison:
    """The new model against the production model.

    Attributes:
        production: the production model.
        accuracy: of the production model; None where it was not compared.
        interval: its 95% interval.
        pair: the new model first, the production model second; None where they were not compared.
        gain: the same by `metric`, where that is not accuracy.
    """

    production: ProductionModel
    accuracy: float | None = None
    interval: Interval | None = None
    pair: PairedTest | None = None
    gain: MetricGain | None = None

    def to_json(self) -> dict[str, Any]:
        """The section ``production`` of metrics.json."""
        pair = self.pair
        return {
            "version": self.production.version,
            "name": self.production.name,
            "accuracy": self.accuracy,
            "accuracy_ci95": pair_of(self.interval),
            "difference": None if pair is None else pair.difference,
            "difference_ci95": None if pair is None else pair.interval.pair(),
            "p_value": None if pair is None else pair.p_value,
            "better": None if pair is None else _BETTER[pair.better],
            "new_only": None if pair is None else pair.first_only,
            "production_only": None if pair is None else pair.second_only,
            "reason": self.production.reason,
            "note": self.production.note,
            **({} if self.gain is None else self.gain.to_json()),
        }


def read_comparison(values: Mapping[str, Any] | None) -> ProductionComparison | None:
    """The comparison that :meth:`ProductionComparison.to_json` wrote, without the model; None for none."""
    if values is None:
        return None
    model = ProductionModel(values["version"], values["name"], None, values["reason"], values["note"])
    pair = None
    if values["difference"] is not None:
        between = Interval(*values["difference_ci95"])
        counts = values["new_only"], values["production_only"]
        pair = PairedTest(values["difference"], between, *counts, values["p_value"])
    gain = None
    if "gain" in values:
        gain = MetricGain(scorer(values["metric"]), values["gain"], _interval(values["gain_ci95"]))
    return ProductionComparison(model, values["accuracy"], _interval(values["accuracy_ci95"]), pair, gain)


def _interval(bounds: Sequence[float] | None) -> Interval | None:
    return None if bounds is None else Interval(bounds[0], bounds[1])


def find_production_model(
    folder: Path, model: Path, classes: Sequence[str], splits_sha256: str
) -> ProductionModel | None:
    """Load the production model in ``folder``; None where there is none or it is the one in ``model``.

    Args:
        folder: the production model.
        model: the new model.
        classes: the classes that both must know, in any order.
        splits_sha256: hash of the table of splits that the test images come from.
    """
    from graft.inference.artifact import ARTIFACT_FILE, read_artifact
    from graft.inference.package import version_of
    from graft.inference.predictor import Predictor

    if not (folder / ARTIFACT_FILE).exists():
        return None
    version = version_of(folder)
    if version == version_of(model):
        return None
    try:
        artifact = read_artifact(folder)
        if set(artifact.classes) != set(classes):
            return ProductionModel(version, artifact.name, None, "it knows other classes than this data has")
        loaded = Predictor.load(folder)
    except WeightsError as error:
        # A damaged production model is no reason to refuse a new one; that it was not compared is told.
        return ProductionModel(version, "unknown", None, f"it cannot be loaded: {error.what}")
    note = (
        "it was trained on another division of the images, so that it may have been trained on some of these test "
        "images; the comparison can only flatter it"
    )
    same = artifact.provenance.get("splits_sha256") == splits_sha256
    return ProductionModel(version, artifact.name, loaded, note=None if same else note)


def compare_with_production(
    production: ProductionModel,
    labels: NDArray[np.intp],
    new: NDArray[np.float64],
    old: NDArray[np.float64] | None,
    resampling: Resampling,
    metric: str = "accuracy",
) -> ProductionComparison:
    """Compare the new model with the production model, image by image.

    Args:
        production: the production model.
        labels: int (n,).
        new: probabilities (n, k) of the new model.
        old: those of the production model; None where it could not be asked.
        resampling: what the bootstrap draws for the accuracy; its groups count once in the comparison too.
        metric: of params.yaml; where it is not accuracy, the models are compared by it too.
    """
    if old is None:
        return ProductionComparison(production)
    right, before = new.argmax(axis=1) == labels, old.argmax(axis=1) == labels
    band = METRICS.intervals(labels, old, resampling, ("accuracy",))["accuracy"]
    gain = None if metric == "accuracy" else metric_gain(scorer(metric), labels, new, old, resampling)
    return ProductionComparison(
        production, float(before.mean()), band, compare_pair(right, before, resampling.units), gain
    )


def metric_gain(
    by: Scorer,
    labels: NDArray[np.intp],
    new: NDArray[np.float64],
    old: NDArray[np.float64],
    resampling: Resampling,
) -> MetricGain:
    """What the new model gains by a metric that has no exact test: both are read on the same resamples."""
    metric = by.metric
    values = [METRICS.score(metric.name, labels, said).value for said in (new, old)]
    if values[0] is None or values[1] is None:
        return MetricGain(by, None, None)
    first, second = (METRICS.resampled(labels, said, resampling, (metric.name,))[metric.name] for said in (new, old))
    interval = percentile(by.shown(1.0) * (first - second), -metric.high, metric.high, resampling.count)
    return MetricGain(by, by.shown(values[0] - values[1]), interval)


def in_words(found: ProductionComparison | None) -> str | None:
    """The finding as a sentence for report and model card; None where there is no other production model."""
    if found is None:
        return None
    who = f"The production model ({found.production.version}, {found.production.name})"
    pair = found.pair
    if pair is None:
        return f"{who} was not compared: {found.production.reason}."
    chance = "" if pair.p_value is None else f", McNemar's exact test p = {pair.p_value:.3g}"
    note = "" if found.production.note is None else f" Note that {found.production.note}."
    by = "" if found.gain is None else f" {_gain_in_words(found.gain)}"
    return (
        f"{who} has an accuracy of {percent(found.accuracy)} ({interval(found.interval)}) on the same test images. The "
        f"new model's is {points(pair.difference)} percentage points over it (95%: {point_interval(pair.interval)}, "
        f"paired{chance}): {_VERDICT[pair.better]}.{by}{note}"
    )


def _gain_in_words(gain: MetricGain) -> str:
    name, band, gap = gain.scorer.name, gain.interval, gain.scorer.gap
    if gain.value is None:
        return f"By {name} they cannot be compared on these images."
    bounds = "" if band is None else f" (95%: {gap(band.low, '+')} to {gap(band.high, '+')}, paired)"
    return f"By {name}, which selection goes by, it gains {gap(gain.value, '+')}{bounds}."
