"""The rule that chooses: the best mean; among candidates within one standard error of it, the cheapest to serve."""

from __future__ import annotations

from collections.abc import Sequence

from graft.select.candidates import Result
from graft.select.probe import standard_error


def ranked(results: Sequence[Result]) -> list[Result]:
    """Finalists first, each part by its own mean, best first; among equals the cheaper to serve first."""
    return sorted(results, key=lambda item: (not item.finetuned, -item.mean, item.cost.gmacs))


def finalists(results: Sequence[Result], count: int) -> list[Result]:
    """The ``count`` best candidates by probe; among equals the cheaper to serve."""
    return sorted(results, key=lambda item: (-item.probe.mean, item.cost.gmacs))[:count]


def bar(results: Sequence[Result]) -> float:
    """The best mean less its standard error (L. Breiman et al., Classification and Regression Trees, 1984, 3.4.3)."""
    best = max(results, key=lambda item: item.mean)
    return best.mean - standard_error(best.scores)


def choose(results: Sequence[Result]) -> Result:
    """The winner among the finalists: the cheapest to serve, in GMACs, of those not under the bar."""
    entered = [item for item in results if item.finetuned] or list(results)
    level = bar(entered)
    return min((item for item in entered if item.mean >= level), key=lambda item: (item.cost.gmacs, -item.mean))


def reasons(results: Sequence[Result]) -> list[str]:
    """Why each won or lost, in words."""
    winner = choose(results)
    entered = [item for item in results if item.finetuned] or list(results)
    best, level = max(entered, key=lambda item: item.mean), bar(entered)
    return [_reason(item, winner, best, level) for item in results]


def _reason(item: Result, winner: Result, best: Result, level: float) -> str:
    if item is winner is best:
        return "chosen: the best mean, and none within its standard error is cheaper"
    if item is winner:
        return f"chosen: within one standard error of the best ({best.mean:.3f}) and cheaper to serve"
    if not item.finetuned and winner.finetuned:
        return f"no finalist: its probe scored {item.probe.mean:.3f}"
    if item.mean >= level:
        return f"as good as the winner within one standard error, but dearer to serve ({item.cost.gmacs:.3g} GMACs)"
    return f"its mean {item.mean:.3f} is more than one standard error under the best ({best.mean:.3f})"
