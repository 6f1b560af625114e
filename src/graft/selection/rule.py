"""The rule that chooses among candidates, by the metric and in the words of params.yaml (`metric`, `select.rule`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graft.selection.best import DEFAULT, Criterion, best_by, may_be_chance

if TYPE_CHECKING:
    from graft.selection.candidates import CandidateResult


def ranked(results: Sequence[CandidateResult]) -> list[CandidateResult]:
    """Finalists first, what is over a limit last, each part by its own mean, best first; equals by cost."""
    return sorted(results, key=lambda item: (bool(item.excess), not item.is_finalist, -item.mean, item.cost.gmacs))


def finalists(results: Sequence[CandidateResult], count: int) -> list[CandidateResult]:
    """The ``count`` best candidates by probe of those within the limits; among equals the cheaper to serve.

    Those without weights are none, unless there are no others: fine-tuning has nothing to start from there.
    """
    within = [item for item in results if not item.excess]
    fitting = [item for item in within if item.candidate.weights != "none"] or within
    return sorted(fitting, key=lambda item: (-item.probe.mean, item.cost.gmacs))[:count]


def entered(results: Sequence[CandidateResult]) -> list[CandidateResult]:
    """Who can win: the finalists, or where none was fine-tuned all; never one that is over a limit."""
    fitting = [item for item in results if not item.excess]
    return [item for item in fitting if item.is_finalist] or fitting


def choose_winner(results: Sequence[CandidateResult], by: Criterion = DEFAULT) -> CandidateResult:
    """The winner of those that can win, by :func:`graft.selection.best.best_by`; cost is counted in GMACs."""
    able = sorted(entered(results), key=lambda item: (item.cost.gmacs, -item.mean))
    return able[best_by(by.rule, [item.scores for item in able])]


def reasons(results: Sequence[CandidateResult], by: Criterion = DEFAULT) -> list[str]:
    """Why each won or lost, in words."""
    winner, able = choose_winner(results, by), entered(results)
    return [_reason(item, winner, able, by) for item in results]


def _reason(item: CandidateResult, winner: CandidateResult, able: Sequence[CandidateResult], by: Criterion) -> str:
    best = max(able, key=lambda other: other.mean)
    if item.excess:
        return f"over a limit, so it cannot win: {'; '.join(map(str, item.excess))}"
    if item is winner and len(able) == 1:
        return "chosen: there was no other to choose from"
    if item is winner:
        return f"chosen: {_why(item, best, by)}"
    if not item.is_finalist and item.candidate.weights == "none" != winner.candidate.weights:
        return "no finalist: it has no weights to start from"
    if not item.is_finalist and winner.is_finalist:
        return f"no finalist: its linear probe had {by.scorer.said(item.probe.mean)}"
    if item.mean == winner.mean:
        return f"{by.scorer.said(item.mean)} as the winner, but dearer to serve ({item.cost.gmacs:.3g} GMACs)"
    chance = may_be_chance(best.scores, item.scores)
    known = "which may be chance" if chance else "which is more than chance"
    if item is best:
        return f"the best mean {by.scorer.said(item.mean)}, but dearer to serve ({item.cost.gmacs:.3g} GMACs)"
    dearer = f", and dearer to serve than the winner ({item.cost.gmacs:.3g} GMACs)"
    return (
        f"its mean {by.scorer.said(item.mean)} is {by.scorer.gap(best.mean - item.mean)} behind the best "
        f"({by.scorer.shown(best.mean):.3f}), {known}{dearer if by.rule == 'cheap' and chance else ''}"
    )


def _why(winner: CandidateResult, best: CandidateResult, by: Criterion) -> str:
    name = by.scorer.name
    if by.rule == "accurate":
        return f"the best mean {name} over the folds, of equals the cheapest to serve (select.rule: accurate)"
    whose = "it has it itself" if winner.mean == best.mean else f"its own is {by.scorer.shown(winner.mean):.3f}"
    return (
        f"the cheapest to serve of those whose paired difference to the best mean {name} "
        f"({by.scorer.shown(best.mean):.3f}; {whose}) may be chance (select.rule: cheap)"
    )
