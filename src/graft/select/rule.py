"""The rule that chooses: the best mean; among candidates within one standard error of it, the cheapest to serve."""

from __future__ import annotations

from collections.abc import Sequence

from graft.select.candidates import Result
from graft.select.probe import standard_error


def ranked(results: Sequence[Result]) -> list[Result]:
    """Finalists first, what is over a limit last, each part by its own mean, best first; equals by cost."""
    return sorted(results, key=lambda item: (bool(item.excess), not item.finetuned, -item.mean, item.cost.gmacs))


def finalists(results: Sequence[Result], count: int) -> list[Result]:
    """The ``count`` best candidates by probe of those within the limits; among equals the cheaper to serve."""
    fitting = [item for item in results if not item.excess]
    return sorted(fitting, key=lambda item: (-item.probe.mean, item.cost.gmacs))[:count]


def bar(results: Sequence[Result]) -> float:
    """The best mean less its standard error (L. Breiman et al., Classification and Regression Trees, 1984, 3.4.3)."""
    best = max(results, key=lambda item: item.mean)
    return best.mean - standard_error(best.scores)


def entered(results: Sequence[Result]) -> list[Result]:
    """Who can win: the finalists, or where none was fine-tuned all; never one that is over a limit."""
    fitting = [item for item in results if not item.excess]
    return [item for item in fitting if item.finetuned] or fitting


def choose(results: Sequence[Result]) -> Result:
    """The winner among the finalists: the cheapest to serve, in GMACs, of those not under the bar."""
    able = entered(results)
    level = bar(able)
    return min((item for item in able if item.mean >= level), key=lambda item: (item.cost.gmacs, -item.mean))


def reasons(results: Sequence[Result]) -> list[str]:
    """Why each won or lost, in words."""
    winner, able = choose(results), entered(results)
    best, level = max(able, key=lambda item: item.mean), bar(able)
    alone = len(able) == 1
    return [_reason(item, winner, best, level, alone) for item in results]


def _reason(item: Result, winner: Result, best: Result, level: float, alone: bool) -> str:
    if item.excess:
        return f"over a limit, so it cannot win: {'; '.join(map(str, item.excess))}"
    if item is winner and alone:
        return "chosen: there was no other to choose from"
    if item is winner and item.mean == best.mean:
        return "chosen: the best mean, and none within its standard error is cheaper"
    if item is winner:
        return f"chosen: within one standard error of the best ({best.mean:.3f}) and cheaper to serve"
    if not item.finetuned and winner.finetuned:
        return f"no finalist: its probe scored {item.probe.mean:.3f}"
    if item.mean >= level:
        return f"as good as the winner within one standard error, but dearer to serve ({item.cost.gmacs:.3g} GMACs)"
    return f"its mean {item.mean:.3f} is more than one standard error under the best ({best.mean:.3f})"
