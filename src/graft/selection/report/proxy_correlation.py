"""Did the cheap scores agree with fine-tuning? Rank correlation and regret over the candidates that were fine-tuned."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graft.metrics.scorer import ACCURACY, Scorer
from graft.selection.candidates import CandidateResult

LEAST_FOR_RANKS = 3
LEAST_FOR_REGRET = 2

# The scores that could have chosen instead of fine-tuning: the key in agreement.json, the name for people, the figure.
SCORES: dict[str, tuple[str, Callable[[CandidateResult], float | None]]] = {
    "probe": ("The linear probe", lambda item: item.probe.mean),
    "knn": ("k-NN", lambda item: item.knn),
    "logme": ("LogME", lambda item: item.logme),
    "imagenet": ("ImageNet accuracy", lambda item: item.published),
}


@dataclass(frozen=True)
class Agreement:
    """How one score went with that of fine-tuning.

    Attributes:
        name: of the score, for people.
        compared: fine-tuned candidates that have the score.
        spearman: rank correlation in [-1, 1] over those; None with a reason.
        kendall: tau-b in [-1, 1]; None with the same reason.
        reason: why there is no correlation.
        first: which candidate the score would have chosen, by position in the results; None where none has it.
        regret: score lost by taking that one instead of the best that was fine-tuned.
        regret_reason: why that is not known.
    """

    name: str
    compared: int
    spearman: float | None
    kendall: float | None
    reason: str | None
    first: int | None
    regret: float | None
    regret_reason: str | None


def agreements(results: Sequence[CandidateResult], scorer: Scorer = ACCURACY) -> dict[str, Agreement]:
    """Every row of :data:`SCORES`; candidates over a limit take no part."""
    return {key: _agreement(name, figure, results, scorer) for key, (name, figure) in SCORES.items()}


def _agreement(
    name: str, figure: Callable[[CandidateResult], float | None], results: Sequence[CandidateResult], scorer: Scorer
) -> Agreement:
    able = [(place, item) for place, item in enumerate(results) if not item.excess]
    scores = {place: score for place, item in able if (score := figure(item)) is not None}
    truth = {place: item.mean for place, item in able if item.is_finalist}
    both = [place for place in scores if place in truth]
    spearman, kendall, reason = correlations([scores[place] for place in both], [truth[place] for place in both])
    first = min(scores, key=lambda place: (-scores[place], results[place].cost.gmacs), default=None)
    regret, why = None, None
    if first is None:
        why = "no candidate has this score"
    elif first not in truth:
        why = f"its choice was not fine-tuned; a linear head on it had {scorer.said(results[first].probe.mean)}"
    elif len(truth) < LEAST_FOR_REGRET:
        why = "no other candidate was fine-tuned"
    else:
        regret = max(truth.values()) - truth[first]
    return Agreement(name, len(both), spearman, kendall, reason, first, regret, why)


def correlations(scores: Sequence[float], truth: Sequence[float]) -> tuple[float | None, float | None, str | None]:
    """Spearman's rho and Kendall's tau-b, or None for both and the reason."""
    from scipy import stats

    count = len(scores)
    if count < LEAST_FOR_RANKS:
        had = f"{count or 'none'} of the fine-tuned candidates {'has' if count == 1 else 'have'} this score"
        return None, None, f"{had}, and an order needs {LEAST_FOR_RANKS}"
    if len(set(scores)) == 1 or len(set(truth)) == 1:
        return None, None, "all of them are equal, so there is no order"
    rho, tau = stats.spearmanr(scores, truth).statistic, stats.kendalltau(scores, truth).statistic
    return float(rho), float(tau), None


def sentence(found: Agreement, name_of: Callable[[int], str], scorer: Scorer = ACCURACY) -> str:
    """The finding in words, for the report."""
    if found.first is None:
        return f"{found.name}: {found.regret_reason}."
    if found.regret is None:
        verdict = f"what that would have cost is not known: {found.regret_reason}"
    elif math.isclose(found.regret, 0.0, abs_tol=1e-9):
        verdict = "and so did fine-tuning"
    else:
        verdict = f"which is {scorer.gap(found.regret)} of {scorer.name} behind the best that was fine-tuned"
    ranks = (
        f"No rank correlation: {found.reason}"
        if found.spearman is None or found.kendall is None
        else f"Over {found.compared} fine-tuned candidates Spearman's rank correlation with the fine-tuned "
        f"{scorer.name} is {signed(found.spearman)}, Kendall's {signed(found.kendall)}"
    )
    return f"{found.name} put {name_of(found.first)} first, {verdict}. {ranks}."


def signed(value: float) -> str:
    """``+0.80``, with a real minus."""
    return f"{value:+.2f}".replace("-", "\u2212")


def to_json(found: dict[str, Agreement], name_of: Callable[[int], str], scorer: Scorer = ACCURACY) -> dict[str, Any]:
    """What agreement.json holds: for each score its figures and the finding in words."""
    return {
        key: {
            "compared": item.compared,
            "first": None if item.first is None else name_of(item.first),
            "regret": item.regret,
            "regret_reason": item.regret_reason,
            "spearman": item.spearman,
            "kendall": item.kendall,
            "reason": item.reason,
            "said": sentence(item, name_of, scorer),
        }
        for key, item in found.items()
    }
