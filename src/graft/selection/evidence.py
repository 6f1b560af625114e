"""Cheap evidence on transfer: a linear head on the winner's features against what has no pretrained weights.

Everything is scored on the same folds of the training images, so differences are paired. It is there as soon as a
winner is chosen. That random features are worse does not say what a network trained from scratch would reach: that is
the control's question (:mod:`graft.selection.scratch_control`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.metrics.scorer import Scorer
from graft.stats.corrected_ttest import corrected_interval

if TYPE_CHECKING:
    from graft.selection.candidates import CandidateResult
    from graft.selection.controls import Control

EVIDENCE_FILE = "evidence.json"
RANDOM_WEIGHTS = "random weights"


@dataclass(frozen=True)
class EvidenceRow:
    """A linear head on the winner's features against a rival on the same folds.

    Attributes:
        rival: what it is compared with.
        score: mean score of the winner's head over the folds.
        rival_score: that of the rival.
        gain: by how much the winner's is better, the greater the better, also of losses.
        gain_ci95: the corrected, paired 95% interval of the gain.
        metric: what both are scored by.
    """

    rival: str
    score: float
    rival_score: float
    gain: float
    gain_ci95: tuple[float, float]
    metric: str

    def says(self) -> str:
        """The row in words."""
        low, high = self.gain_ci95
        return (
            f"a linear head on the pretrained features has {self.metric} {self.score:.3f}, on {self.rival} "
            f"{self.rival_score:.3f}: a gain of {self.gain:+.3f} (95%: {low:+.3f} to {high:+.3f})"
        )


def evidence_of(
    winner: CandidateResult, results: Sequence[CandidateResult], controls: Sequence[Control], scorer: Scorer
) -> tuple[EvidenceRow, ...]:
    """A row for random weights, raw samples and the majority class; none where the winner has no weights itself."""
    if winner.candidate.weights == "none":
        return ()
    rivals: dict[str, Sequence[float]] = {}
    blank = [item for item in results if _is_blank(item, winner)]
    if blank:
        rivals[RANDOM_WEIGHTS] = max(blank, key=lambda item: item.probe.mean).probe.fold_scores
    for control in controls:
        if not control.is_candidate:
            rivals[RANDOM_WEIGHTS if control.is_random else control.name] = control.scores
    own = winner.probe.fold_scores
    return tuple(_row(name, own, scores, scorer) for name, scores in rivals.items() if len(scores) == len(own))


def _is_blank(item: CandidateResult, winner: CandidateResult) -> bool:
    one, other = item.candidate, winner.candidate
    return one.weights == "none" and (one.arch, one.size) == (other.arch, other.size)


def _row(name: str, own: Sequence[float], scores: Sequence[float], scorer: Scorer) -> EvidenceRow:
    differences = np.subtract(own, scores).tolist()
    interval = corrected_interval(differences, 1 / (len(own) - 1), float("inf"))
    means = [scorer.shown(float(np.mean(values))) for values in (own, scores)]
    gain, bounds = float(np.mean(differences)), (interval.low, interval.high)
    return EvidenceRow(name, means[0], means[1], gain, bounds, scorer.name)


def write_evidence(rows: Sequence[EvidenceRow], path: Path) -> None:
    """Write evidence.json."""
    from graft.core.files import write_json

    write_json(path, [asdict(row) for row in rows])


def read_evidence(path: Path) -> tuple[EvidenceRow, ...]:
    """What selection wrote; none where there is no file."""
    if not path.exists():
        return ()
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return tuple(EvidenceRow(**{**row, "gain_ci95": tuple(row["gain_ci95"])}) for row in rows)
