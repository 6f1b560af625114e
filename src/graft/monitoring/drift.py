"""Compares the prediction log with training and evaluation: steady, drifted, worse, or too few predictions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from graft.core.errors import GraftError
from graft.data.validation.drift import Shift, measure_drift
from graft.inference.package import read_package
from graft.monitoring.reference import evaluated_version, served_modality, test_facts, training_facts, watched

if TYPE_CHECKING:
    import pandas as pd

    from graft.core.workspace import Workspace

Status = Literal["steady", "drifted", "worse", "too few answers"]
LEAST_ANSWERS = 50
LEAST_LABELS = 20
LEVEL = 0.95
POWER = 0.8
# A few labels may be lacking of a sample that is judged; they count as right.
COMPLETE = 0.9


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of the predictions by the labels that people gave.

    People correct what is wrong and pass over what is right, so their labels are no random sample. Ids are random:
    the first predictions in the order of their ids are a random sample. Where nearly all of these have a label, they
    are judged, else all predictions are. One without a label counts as right, so that ``worse`` is certain.

    Attributes:
        labels: labels that came back.
        judged: predictions that are judged; 0 with less than ``LEAST_LABELS`` labels among them.
        right: of those judged, how many were right or have no label.
        sampled: whether those judged are a random sample, labelled for the most part.
        promised: lower bound of the evaluation's 95% interval; None where there is none.
        wanted: ids of a random sample whose label is missing.
    """

    labels: int
    judged: int
    right: int
    sampled: bool
    promised: float | None
    wanted: tuple[str, ...] = ()

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper-Pearson 95% interval of the accuracy."""
        from scipy.stats import binomtest

        found = binomtest(self.right, self.judged).proportion_ci(LEVEL, method="exact")
        return float(found.low), float(found.high)

    @property
    def is_worse(self) -> bool:
        """Whether the upper bound of the accuracy is under the promised lower bound."""
        return bool(self.judged) and self.promised is not None and self.interval[1] < self.promised

    @property
    def noticed(self) -> float | None:
        """The accuracy that so many labels detect as worse with ``POWER``; None where they detect none."""
        from scipy.stats import beta

        rights = np.arange(self.judged)
        upper = beta.ppf((1 + LEVEL) / 2, rights + 1, self.judged - rights)
        most = int((upper < (self.promised or 0.0)).sum()) - 1
        return None if most < 0 else float(beta.ppf(1 - POWER, most + 1, self.judged - most))

    def describe(self) -> str:
        """For people: the accuracy with its interval, and the fall that would be detected."""
        if not self.judged:
            return (
                f"accuracy is not judged: {self.labels:,} labels came back, and people correct what is wrong; give the "
                f"labels, right or wrong, of {LEAST_LABELS} answers that were drawn at random"
            )
        low, high = self.interval
        promised = "" if self.promised is None else f", promised {self.promised:.3f}"
        share = f"{self.right / self.judged:.3f} ({low:.3f} to {high:.3f}{promised})"
        if not self.sampled:
            return (
                f"accuracy at most {share}: {self.labels:,} of {self.judged:,} answers have a label, and the others "
                "count as right"
            )
        told = f"accuracy {share} on the labels of {self.judged:,} answers drawn at random"
        if self.is_worse or self.promised is None:
            return told
        return told + (
            "; so few would show no fall"
            if self.noticed is None
            else f"; a fall to {self.noticed:.2f} would show {POWER:.0%} of the time"
        )


@dataclass(frozen=True)
class DriftReport:
    """Drift and accuracy of the predictions in a time window.

    Attributes:
        answers: number of predictions.
        shifts: distance of each feature to the training or test set.
        limit: distance over which a feature counts as drifted, 0 to 1.
        accuracy: None where no label came back.
    """

    answers: int
    shifts: tuple[Shift, ...]
    limit: float
    accuracy: Accuracy | None

    @property
    def drifted(self) -> tuple[Shift, ...]:
        """The features beyond the limit and beyond what chance explains."""
        return tuple(shift for shift in self.shifts if shift.beyond_chance > self.limit)

    @property
    def status(self) -> Status:
        """The verdict; accuracy outweighs drift."""
        if self.accuracy is not None and self.accuracy.is_worse:
            return "worse"
        if self.answers < LEAST_ANSWERS:
            return "too few answers"
        return "drifted" if self.drifted else "steady"

    @property
    def causes(self) -> dict[str, str]:
        """Causes for alarm: the feature, or ``accuracy``, and what was found."""
        found = {}
        if self.accuracy is not None and self.accuracy.is_worse:
            found["accuracy"] = self.accuracy.describe()
        if self.answers >= LEAST_ANSWERS:
            found |= {
                shift.feature: f"{shift.feature} moved by {shift.distance:.2f} ({shift.found})"
                for shift in self.drifted
            }
        return found

    @property
    def noticed(self) -> float:
        """The share of samples of another kind that is detected with ``POWER``, by the least sensitive feature."""
        from scipy.stats import beta

        least = max([self.limit, *(shift.chance for shift in self.shifts)])
        most = min(int(least * self.answers), self.answers - 1)
        return float(beta.ppf(POWER, most + 1, self.answers - most))

    def describe(self) -> str:
        """For people: the verdict, with the drift that it would have detected."""
        parts = [f"{self.status}: {self.answers:,} answers"]
        if self.status == "steady":
            parts[0] += f", of which {self.noticed:.0%} of another kind would show {POWER:.0%} of the time"
        if self.accuracy is not None:
            parts.append(self.accuracy.describe())
        return "; ".join([*parts, *(told for cause, told in self.causes.items() if cause != "accuracy")])


def drift_report(workspace: Workspace, answers: pd.DataFrame, limit: float) -> DriftReport:
    """Compare logged predictions with the training and test sets.

    Statistics of samples and classes are compared with the training set; confidence, abstentions and novelty with the
    test set, for predictions of the model that was tested.

    Args:
        workspace: the project.
        answers: the prediction log (:meth:`graft.monitoring.prediction_log.PredictionLog.read`).
        limit: ``validation.max_drift``: the distance (Kolmogorov-Smirnov or total variation, see
            graft.data.validation.drift) over which a feature has drifted.

    Raises:
        GraftError: there is no training data or no model.
    """
    if not len(answers):
        return DriftReport(0, (), limit, None)
    novelty = answers["novelty"].astype(float)
    answers = answers.assign(
        unsure=answers["unsure"].astype(bool), unlike=(novelty > 1).astype(object).where(novelty.notna())
    )
    training = training_facts(workspace)
    features = watched(served_modality(workspace))
    shifts = measure_drift(training, answers, features)
    tested = answers[answers["model"] == evaluated_version(workspace)]
    if len(tested):
        shifts += measure_drift(test_facts(workspace), tested, features)
    return DriftReport(len(answers), shifts, limit, _accuracy(workspace, answers))


def _accuracy(workspace: Workspace, answers: pd.DataFrame) -> Accuracy | None:
    """Accuracy of the production model, else of the one that was evaluated last, else of all that predicted."""
    labelled = set(answers.loc[answers["truth"].notna(), "model"])
    if not labelled:
        return None
    for version, metrics in _promises(workspace):
        if version in labelled:
            return _measured(answers[answers["model"] == version], metrics)
    return _measured(answers[answers["model"].isin(labelled)], {})


def _promises(workspace: Workspace) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Versions of models, with their evaluation's metrics, the production model first."""
    with suppress(GraftError):
        package = read_package(workspace.production_model)
        yield package.version, package.metrics
    with suppress(OSError, ValueError):
        metrics = json.loads(workspace.metrics.read_text(encoding="utf-8"))
        yield evaluated_version(workspace), metrics


def _measured(answers: pd.DataFrame, metrics: Mapping[str, Any]) -> Accuracy:
    drawn = answers.sort_values("id", ignore_index=True)
    known = drawn["truth"].notna().to_numpy()
    right = ~known | (drawn["label"] == drawn["truth"]).to_numpy()
    labels = np.cumsum(known)
    complete = np.flatnonzero(known & (labels >= COMPLETE * np.arange(1, len(drawn) + 1))) + 1
    sample = int(complete[-1]) if len(complete) else 0
    sampled = sample > 0 and labels[sample - 1] >= LEAST_LABELS
    judged = sample if sampled else len(drawn) if labels[-1] >= LEAST_LABELS else 0
    wanted = () if sampled else tuple(drawn["id"][:LEAST_LABELS][~known[:LEAST_LABELS]])
    try:
        promised = float(metrics["accuracy_ci95"][0])
    except (KeyError, TypeError, ValueError, IndexError):
        promised = None
    return Accuracy(int(labels[-1]), judged, int(right[:judged].sum()), sampled, promised, wanted)
