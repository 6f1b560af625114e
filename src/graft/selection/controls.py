"""Controls: what the winner must beat to have earned its place; in the leaderboard, and never the winner.

To add one, add a function to :data:`CONTROLS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from graft.core.settings import Candidate
from graft.features.image_cache import decoded
from graft.metrics.scorer import Scorer
from graft.parallel.mapper import Mapper, SerialMapper
from graft.selection.candidates import CandidateResult
from graft.selection.inputs import SelectionInputs
from graft.selection.report.names import name_of
from graft.selection.workers import probed

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Control:
    """One control.

    Attributes:
        name: for tables and plots.
        scores: score per fold, by `metric`; empty where it could not be computed.
        why: what the score says, or why there is none.
        result: where the control is a network, all that is known of it.
        is_random: whether that is the winner's with random weights.
        is_candidate: whether it is one of the candidates.
    """

    name: str
    scores: tuple[float, ...]
    why: str
    result: CandidateResult | None = None
    is_random: bool = False
    is_candidate: bool = False

    @property
    def mean(self) -> float | None:
        """Mean of :attr:`scores`."""
        return float(np.mean(self.scores)) if self.scores else None


@dataclass(frozen=True)
class ControlInputs:
    """What controls are computed from: the candidates' results, the winner, and what they were computed with and by."""

    results: Sequence[CandidateResult]
    winner: CandidateResult
    inputs: SelectionInputs
    mapper: Mapper = field(default_factory=SerialMapper)

    @property
    def scorer(self) -> Scorer:
        """The metric that all are scored by."""
        return self.inputs.criterion.scorer


def majority_class(given: ControlInputs) -> Control | None:
    """The classes' shares in the other folds for every image, and so the name of the most frequent one."""
    data = given.inputs.data
    if not data.task.categorical:
        return None
    labels, folds = data.labels, data.folds
    scores = []
    for fold in np.unique(folds):
        test = folds == fold
        shares = np.bincount(labels[~test], minlength=len(data.classes)) / np.sum(~test)
        scores.append(given.scorer(labels[test], np.tile(shares, (int(test.sum()), 1))))
    return Control("majority class", tuple(scores), "control: the most frequent class for every image")


def raw_samples(given: ControlInputs) -> Control:
    """A linear head on the samples without a network, standardised inside the fold like any feature."""
    baseline = given.winner.preprocessing.baseline
    rows = decoded(given.inputs.data.images, baseline.loader, given.inputs.store)
    features: NDArray[np.float32] = rows.reshape(len(rows), -1).astype(np.float32)
    scores = given.inputs.linear_probe.fold_scores(features)
    return Control(f"raw {baseline.noun}", scores, f"control: a linear head on {baseline.what}, without any network")


def random_weights(given: ControlInputs) -> Control | None:
    """The winner's network, cut where it is cut, with random weights; None where that is a candidate already."""
    own = given.winner.candidate
    depth = given.winner.probe.depth
    blank = dataclasses.replace(own, weights="none", depth=depth, fit=given.winner.preprocessing.variant)
    name = f"{own.arch.removeprefix('timm:')}, random weights"
    if own.weights == "none" or any(_is_the_same(item, blank, depth) for item in given.results):
        return None
    (found,) = probed(given.inputs, [blank], given.mapper)
    if isinstance(found, str):
        return Control(name, (), f"control: failed {found.replace('probing', 'with random weights', 1)}")
    why = (
        f"control: a linear head on the winner's network with random weights, cut after block {depth}; "
        f"on the winner's own features it had {given.scorer.said(given.winner.probe.mean)}"
    )
    return Control(name, found.probe.fold_scores, why, found, is_random=True)


def _is_the_same(result: CandidateResult, blank: Candidate, depth: int) -> bool:
    other = result.candidate
    return (other.arch, other.weights, other.size) == (blank.arch, "none", blank.size) and result.probe.depth == depth


def static_order(given: ControlInputs) -> Control | None:
    """The candidate that a list ordered by ImageNet accuracy would have named without looking at the images.

    None where no candidate's weights have a published accuracy.
    """
    first = first_by_imagenet(given.results)
    if first is None:
        return None
    assert first.published is not None
    kind = "over the folds" if first.is_finalist else "of a linear probe, as it was no finalist"
    why = f"control: ImageNet accuracy alone ({first.published:.1%}) would have chosen {name_of(first)}; score {kind}"
    return Control("first by ImageNet accuracy", first.scores, why, is_candidate=True)


def first_by_imagenet(results: Sequence[CandidateResult]) -> CandidateResult | None:
    """The candidate with the highest published ImageNet accuracy, among equals the cheapest; None if none has any."""
    known = [item for item in results if item.published is not None]
    return min(known, key=lambda item: (-(item.published or 0.0), item.cost.gmacs), default=None)


CONTROLS: tuple[Callable[[ControlInputs], Control | None], ...] = (
    majority_class,
    raw_samples,
    random_weights,
    static_order,
)


def unbeaten(controls: Sequence[Control], winner: CandidateResult, scorer: Scorer) -> str:
    """What must be said beside the winner where a control scored more; empty where none did."""
    above = [(item.name, item.mean) for item in controls if item.mean is not None and item.mean > winner.mean]
    return "".join(f"; yet the control {name!r} had {scorer.said(mean)}" for name, mean in above)


def run_controls(given: ControlInputs) -> Iterator[Control]:
    """Every control that there is something to be said of."""
    for control in CONTROLS:
        found = control(given)
        if found is not None:
            yield found
