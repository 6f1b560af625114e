"""From the journal of answers to a verdict: steady, drifted, worse, or too few answers to tell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from graft.errors import GraftError
from graft.evaluate.slices import wilson
from graft.monitor.reference import WATCHED, evaluated_version, test_facts, training_facts
from graft.packaged import read_package
from graft.validation.drift import Shift, measure_drift

if TYPE_CHECKING:
    import pandas as pd

    from graft.workspace import Workspace

Word = Literal["steady", "drifted", "worse", "too few answers"]
LEAST_ANSWERS = 50
LEVEL = 0.95


@dataclass(frozen=True)
class Accuracy:
    """How often answers were right, of those whose right label people gave.

    Attributes:
        labels: how many came back.
        value: the share that was right, 0 to 1.
        low, high: Wilson's 95% interval.
        promised: the lower bound of the evaluation's 95% interval; None where there is none.
    """

    labels: int
    value: float
    low: float
    high: float
    promised: float | None

    @property
    def is_worse(self) -> bool:
        """Whether even the best that it can be is under the worst that was promised."""
        return self.promised is not None and self.high < self.promised


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

    def describe(self) -> str:
        """The verdict in a sentence."""
        parts = [f"{self.word}: {self.answers:,} answers"]
        if self.accuracy is not None:
            known = self.accuracy
            promised = "" if known.promised is None else f", promised {known.promised:.3f}"
            parts.append(
                f"accuracy {known.value:.3f} ({known.low:.3f} to {known.high:.3f}{promised}) "
                f"on {known.labels:,} labels that came back"
            )
        if self.word != "too few answers":
            parts += [f"{shift.fact} moved by {shift.distance:.2f} ({shift.found})" for shift in self.drifted]
        return "; ".join(parts)


def examine(workspace: Workspace, answers: pd.DataFrame, limit: float) -> Monitored:
    """Compare what the service was asked and said with what the model was trained and tested on.

    Sizes, tones and classes are compared with the training images'; confidence and doubt with the test images', and
    only those of the model that was tested.

    Args:
        workspace: the project.
        answers: rows of the journal (:meth:`graft.journal.Journal.read`).
        limit: ``validation.max_drift``: the distance (Kolmogorov-Smirnov or total variation, see
            graft.validation.drift) over which a fact has drifted.

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
    known = answers[answers["truth"].notna()]
    if not len(known):
        return None
    for version, metrics in _promises(workspace):
        mine = known[known["model"] == version]
        if len(mine):
            return _measured(mine, metrics)
    return _measured(known, {})


def _promises(workspace: Workspace) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Versions of models, and the figures of their evaluation."""
    with suppress(GraftError):
        package = read_package(workspace.in_use)
        yield package.version, package.metrics
    with suppress(OSError, ValueError):
        metrics = json.loads((workspace.evaluation / "metrics.json").read_text(encoding="utf-8"))
        yield evaluated_version(workspace), metrics


def _measured(known: pd.DataFrame, metrics: Mapping[str, Any]) -> Accuracy:
    share = float((known["label"] == known["truth"]).mean())
    low, high = wilson(share, len(known), LEVEL)
    try:
        promised = float(metrics["accuracy_ci95"][0])
    except (KeyError, TypeError, ValueError, IndexError):
        promised = None
    return Accuracy(len(known), share, low, high, promised)
