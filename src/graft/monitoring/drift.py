"""From the journal of answers to a verdict: steady, drifted, worse, or too few answers to tell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from graft.core.errors import GraftError
from graft.data.validation.drift import Shift, measure_drift
from graft.inference.packaged import read_package
from graft.monitoring.reference import WATCHED, evaluated_version, test_facts, training_facts

if TYPE_CHECKING:
    import pandas as pd

    from graft.core.workspace import Workspace

Word = Literal["steady", "drifted", "worse", "too few answers"]
LEAST_ANSWERS = 50
LEAST_LABELS = 20
LEVEL = 0.95
POWER = 0.8
# A few labels may be lacking of a sample that is judged; they count as right.
COMPLETE = 0.9


@dataclass(frozen=True)
class Accuracy:
    """How often answers were right, by the labels that people gave.

    People correct what is wrong and pass over what is right, so labels that came by themselves are no fair sample.
    The ids of answers are random: the first of them in order are one, whatever anybody chose to correct. Where nearly
    all of these have a label, they are judged; else all answers are. An answer without a label counts as right, so
    that ``worse`` holds even if it was.

    Attributes:
        labels: how many came back.
        judged: answers that are judged; 0 with less than ``LEAST_LABELS`` labels among them.
        right: of those judged, how many were right or have no label.
        sampled: whether those judged are a random sample with a label for nearly each.
        promised: the lower bound of the evaluation's 95% interval; None where there is none.
        wanted: ids of answers drawn at random whose label is lacking.
    """

    labels: int
    judged: int
    right: int
    sampled: bool
    promised: float | None
    wanted: tuple[str, ...] = ()

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's 95% interval of the accuracy."""
        from scipy.stats import binomtest

        found = binomtest(self.right, self.judged).proportion_ci(LEVEL, method="exact")
        return float(found.low), float(found.high)

    @property
    def is_worse(self) -> bool:
        """Whether even the best that it can be is under the worst that was promised."""
        return bool(self.judged) and self.promised is not None and self.interval[1] < self.promised

    @property
    def noticed(self) -> float | None:
        """The accuracy that would be called worse in ``POWER`` of cases with so many labels; None: none would be."""
        from scipy.stats import beta

        rights = np.arange(self.judged)
        upper = beta.ppf((1 + LEVEL) / 2, rights + 1, self.judged - rights)
        most = int((upper < (self.promised or 0.0)).sum()) - 1
        return None if most < 0 else float(beta.ppf(1 - POWER, most + 1, self.judged - most))

    def describe(self) -> str:
        """What the labels say, how sure that is, and what it takes to say more."""
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
class Monitored:
    """What became of the answers of some time.

    Attributes:
        answers: how many there were.
        shifts: how each fact moved against the training or test images.
        limit: the distance over which a fact counts as drifted, 0 to 1.
        accuracy: None where no label came back.
    """

    answers: int
    shifts: tuple[Shift, ...]
    limit: float
    accuracy: Accuracy | None

    @property
    def drifted(self) -> tuple[Shift, ...]:
        """The facts that moved farther than the limit, and than chance moves them."""
        return tuple(shift for shift in self.shifts if shift.beyond_chance > self.limit)

    @property
    def word(self) -> Word:
        """The verdict; being wrong outweighs being asked other things."""
        if self.accuracy is not None and self.accuracy.is_worse:
            return "worse"
        if self.answers < LEAST_ANSWERS:
            return "too few answers"
        return "drifted" if self.drifted else "steady"

    @property
    def causes(self) -> dict[str, str]:
        """What somebody has to see to: the fact, or ``accuracy``, and what is found of it."""
        found = {}
        if self.accuracy is not None and self.accuracy.is_worse:
            found["accuracy"] = self.accuracy.describe()
        if self.answers >= LEAST_ANSWERS:
            found |= {
                shift.fact: f"{shift.fact} moved by {shift.distance:.2f} ({shift.found})" for shift in self.drifted
            }
        return found

    @property
    def noticed(self) -> float:
        """The share of images that must be of another kind for the fact that is the hardest to tell to be called
        drifted in ``POWER`` of cases."""
        from scipy.stats import beta

        least = max([self.limit, *(shift.chance for shift in self.shifts)])
        most = min(int(least * self.answers), self.answers - 1)
        return float(beta.ppf(POWER, most + 1, self.answers - most))

    def describe(self) -> str:
        """The verdict in a sentence, with what could have escaped it."""
        parts = [f"{self.word}: {self.answers:,} answers"]
        if self.word == "steady":
            parts[0] += f", of which {self.noticed:.0%} of another kind would show {POWER:.0%} of the time"
        if self.accuracy is not None:
            parts.append(self.accuracy.describe())
        return "; ".join([*parts, *(told for cause, told in self.causes.items() if cause != "accuracy")])


def examine(workspace: Workspace, answers: pd.DataFrame, limit: float) -> Monitored:
    """Compare what the service was asked and said with what the model was trained and tested on.

    Sizes, tones and classes are compared with the training images'; confidence and doubt with the test images', and
    only those of the model that was tested.

    Args:
        workspace: the project.
        answers: rows of the journal (:meth:`graft.monitoring.prediction_log.Journal.read`).
        limit: ``validation.max_drift``: the distance (Kolmogorov-Smirnov or total variation, see
            graft.data.validation.drift) over which a fact has drifted.

    Raises:
        GraftError: there is no training data or no model.
    """
    if not len(answers):
        return Monitored(0, (), limit, None)
    novelty = answers["novelty"].astype(float)
    # The last bits of a mean depend on the order of the sum: flat images would differ from themselves.
    answers = answers.round({"brightness": 4, "contrast": 4}).assign(
        unsure=answers["unsure"].astype(bool), unlike=(novelty > 1).astype(object).where(novelty.notna())
    )
    shifts = measure_drift(training_facts(workspace), answers, WATCHED)
    tested = answers[answers["model"] == evaluated_version(workspace)]
    if len(tested):
        shifts += measure_drift(test_facts(workspace), tested, WATCHED)
    return Monitored(len(answers), shifts, limit, _accuracy(workspace, answers))


def _accuracy(workspace: Workspace, answers: pd.DataFrame) -> Accuracy | None:
    """How often the model in use was right, else the one that was evaluated last, else whatever answered.

    The answers of a model that was replaced say nothing of the next one, nor does its promise.
    """
    labelled = set(answers.loc[answers["truth"].notna(), "model"])
    if not labelled:
        return None
    for version, metrics in _promises(workspace):
        if version in labelled:
            return _measured(answers[answers["model"] == version], metrics)
    return _measured(answers[answers["model"].isin(labelled)], {})


def _promises(workspace: Workspace) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Versions of models, and the figures of their evaluation."""
    with suppress(GraftError):
        package = read_package(workspace.in_use)
        yield package.version, package.metrics
    with suppress(OSError, ValueError):
        metrics = json.loads((workspace.evaluation / "metrics.json").read_text(encoding="utf-8"))
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
