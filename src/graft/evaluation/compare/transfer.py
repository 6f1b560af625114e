"""The verdict on transfer: the delivered model against the same network trained from scratch.

Two comparisons can speak. On the test images (:mod:`graft.stats.paired`) the interval covers the choice of test
images; over folds and seeds (``train.control_seeds``) it covers the choice of training images and the training's
chance. Where both are there, the verdict is theirs only if they agree. Where no control was trained, the verdict goes
by the cheap evidence of :mod:`graft.selection.evidence`, and says so. It chooses no model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from graft.metrics.classification import METRICS
from graft.metrics.formatting import counted
from graft.selection.evidence import RANDOM_WEIGHTS, EvidenceRow
from graft.stats.bootstrap import Interval, Resampling, pair_of
from graft.stats.paired import compare_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.evaluation.compare.control_folds import FoldComparison

Verdict = Literal["helps", "hurts", "undecided"]

# The verdict in reports/control.
CONTROL_FILE = "control.json"
# What a verdict goes by.
BY_CONTROL = "the delivered model against the same network trained from scratch, on the same test images"
BY_PROBE = "a linear head on pretrained features against one on the same network's with random weights, over the folds"

_VERDICTS: dict[int, Verdict] = {1: "helps", -1: "hurts", 0: "undecided"}


@dataclass(frozen=True)
class Estimate:
    """An accuracy, in [0, 1], and its 95% interval."""

    accuracy: float
    interval: Interval


@dataclass(frozen=True)
class TransferComparison:
    """A transferred model against its control on the same test images.

    Attributes:
        labels_per_class: labels per class that both were trained on; None where it varies between classes.
        verdict: ``helps`` if the whole interval of the difference lies above zero, ``hurts`` if below.
        transferred: the transferred model.
        control: the same network from scratch; None where none was trained.
        difference: accuracy of the transferred model minus that of the control, in [-1, 1].
        interval: the paired 95% interval of the difference.
        p_value: of McNemar's exact test, to which the interval belongs; None where no image tells the two apart.
        reason: why it is undecided, where there is more to say than that the interval holds zero.
        folds: the difference over folds and seeds; None where it was not asked for.
        similarity: how like the target the source is, as selection wrote it; None where nobody knows.
        budget: what the control had (steps, rate, size), as model.json says.
        evidence: a linear head on the pretrained features against its rivals, as selection wrote it.
        rule: what the verdict goes by.
    """

    labels_per_class: int | None
    verdict: Verdict
    transferred: Estimate | None
    control: Estimate | None = None
    difference: float | None = None
    interval: Interval | None = None
    p_value: float | None = None
    reason: str | None = None
    folds: FoldComparison | None = None
    similarity: Mapping[str, Any] | None = None
    budget: Mapping[str, Any] | None = None
    evidence: tuple[EvidenceRow, ...] = ()
    rule: str = BY_CONTROL

    @property
    def over_random_weights(self) -> EvidenceRow | None:
        """The pretrained features against those of random weights; None where nobody compared them."""
        return next((row for row in self.evidence if row.rival == RANDOM_WEIGHTS), None)

    def to_json(self) -> dict[str, Any]:
        """As metrics.json has it."""
        sides = {"transfer": self.transferred, "control": self.control}
        accuracies: dict[str, Any] = {}
        for name, side in sides.items():
            accuracies[f"{name}_accuracy"] = None if side is None else side.accuracy
            accuracies[f"{name}_accuracy_ci95"] = None if side is None else side.interval.pair()
        return {
            "verdict": self.verdict,
            "rule": self.rule,
            "labels_per_class": self.labels_per_class,
            "difference": self.difference,
            "difference_ci95": pair_of(self.interval),
            "p_value": self.p_value,
            **accuracies,
            "reason": self.reason,
            "folds": None if self.folds is None else self.folds.to_json(),
            "similarity": None if self.similarity is None else dict(self.similarity),
            "control_budget": None if self.budget is None else dict(self.budget),
            "evidence": [dataclasses.asdict(row) for row in self.evidence],
        }


NOT_COMPARED = TransferComparison(None, "undecided", None, reason="it was not compared with a control yet")


def verdict_of(interval: Interval) -> Verdict:
    """``helps`` if the whole interval of the difference lies above zero, ``hurts`` if below, else ``undecided``."""
    return _VERDICTS[interval.sign]


def estimate(labels: NDArray[np.intp], probabilities: NDArray[np.float64], resampling: Resampling) -> Estimate | None:
    """Accuracy with its interval; None where there are no images."""
    interval = METRICS.intervals(labels, probabilities, resampling, ["accuracy"])["accuracy"]
    if interval is None:
        return None
    return Estimate(float((probabilities.argmax(axis=1) == labels).mean()), interval)


def compare_with_control(
    labels: NDArray[np.intp],
    transferred: NDArray[np.float64],
    control: NDArray[np.float64] | None,
    resampling: Resampling,
    labels_per_class: int | None = None,
    no_control: str = "no control was trained",
) -> TransferComparison:
    """The verdict on one pair of models.

    Args:
        labels: int (n,).
        transferred: probabilities (n, k) of the transferred model.
        control: probabilities (n, k) of the same network trained from scratch, or None.
        resampling: what the bootstrap draws for the two accuracies; its groups count once in the comparison too.
        labels_per_class: labels per class that both were trained on.
        no_control: the reason to give where ``control`` is None.
    """
    first = estimate(labels, transferred, resampling)
    if control is None:
        return TransferComparison(labels_per_class, "undecided", first, reason=no_control)
    second = estimate(labels, control, resampling)
    if first is None or second is None:
        return TransferComparison(labels_per_class, "undecided", None, reason="there are no test images")
    right = [said.argmax(axis=1) == labels for said in (transferred, control)]
    pair = compare_pair(right[0], right[1], resampling.units)
    verdict = verdict_of(pair.interval)
    return TransferComparison(labels_per_class, verdict, first, second, pair.difference, pair.interval, pair.p_value)


def agreed(found: TransferComparison, folds: FoldComparison | None) -> TransferComparison:
    """The comparison on the test images with that over folds and seeds beside it; undecided where they disagree."""
    if folds is None or found.interval is None:
        return found
    if found.verdict in {verdict_of(folds.interval), "undecided"}:
        return dataclasses.replace(found, folds=folds)
    low, high = folds.interval.pair()
    reason = (
        f"the test images say that transfer {found.verdict}, but over {counted(folds.folds, 'fold', 'folds')} and "
        f"{counted(folds.seeds, 'seed', 'seeds')} the difference is {folds.difference:+.3f} "
        f"(95% interval {low:+.3f} to {high:+.3f})"
    )
    return dataclasses.replace(found, folds=folds, verdict="undecided", reason=reason)


def by_evidence(found: TransferComparison, evidence: tuple[EvidenceRow, ...]) -> TransferComparison:
    """The comparison with the cheap evidence beside it, by which the verdict goes where there was no control."""
    found = dataclasses.replace(found, evidence=evidence)
    random = found.over_random_weights
    if found.control is not None or random is None:
        return found
    return dataclasses.replace(found, verdict=verdict_of(Interval(*random.gain_ci95)), rule=BY_PROBE)


def label_curve(found: Sequence[TransferComparison]) -> tuple[TransferComparison, ...]:
    """The comparisons by labels per class, fewest first; empty where there is one alone."""
    able = {point.labels_per_class: point for point in found if point.control is not None}
    known = sorted((count, point) for count, point in able.items() if count is not None)
    return tuple(point for _, point in known) if len(found) > 1 else ()
