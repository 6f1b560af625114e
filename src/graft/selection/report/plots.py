"""The pictures of the selection: scores, depth curves, score against latency; for colour-blind people too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graft.core.plotting import plotting, save_svg
from graft.metrics.scorer import ACCURACY, Scorer
from graft.selection.best import DEFAULT, Criterion, standard_error
from graft.selection.candidates import CandidateResult
from graft.selection.controls import Control
from graft.selection.report.leaderboard import names_of
from graft.selection.rule import choose_winner, ranked

# Okabe and Ito's colours, with a line style each, so that more curves than colours stay apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
STYLES = ("-", "--", ":", "-.")
BLUE, GREY, ORANGE = "#0072b2", "#767676", "#d55e00"
MOST_LABELS = 12


def draw_scores(
    results: Sequence[CandidateResult], controls: Sequence[Control], path: Path, scorer: Scorer = ACCURACY
) -> None:
    """Mean score of every candidate with one standard error to each side, best on top, and the controls below."""
    rows = ranked(results)[::-1]
    known = [item for item in reversed(controls) if item.mean is not None]
    names = [*(item.name for item in known), *reversed(names_of(rows[::-1]))]
    figure, axes = plotting().subplots(figsize=(8, 0.36 * len(names) + 1.5), layout="constrained")
    for height, control in enumerate(known):
        axes.errorbar(
            scorer.shown(control.mean or 0.0),
            height,
            xerr=standard_error(control.scores),
            fmt="x",
            color=ORANGE,
            capsize=4,
            label="control",
        )
    for height, result in enumerate(rows, start=len(known)):
        kind = "finalist, trained in every fold" if result.is_finalist else "linear probe"
        colour, marker = (BLUE, "o") if result.is_finalist else (GREY, "s")
        error = standard_error(result.scores)
        axes.errorbar(scorer.shown(result.mean), height, xerr=error, fmt=marker, color=colour, capsize=4, label=kind)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel(f"cross-validated {scorer.name}, and its standard error")
    axes.grid(axis="x", alpha=0.3)
    _legend(figure, axes)
    save_svg(figure, path)


def _legend(figure: Any, axes: Any) -> None:
    """One entry for each kind, above the plot where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once.keys(), loc="outside upper left", ncols=3, fontsize="small", frameon=False)


def draw_depths(results: Sequence[CandidateResult], path: Path, scorer: Scorer = ACCURACY) -> None:
    """Score of a linear head at every depth of every candidate; the depth that was taken is marked."""
    figure, axes = plotting().subplots(figsize=(8, 4.2 + 0.22 * np.ceil(len(results) / 2)), layout="constrained")
    for number, (result, name) in enumerate(zip(results, names_of(results), strict=True)):
        curve, colour = [scorer.shown(mean) for mean in result.probe.curve], COLOURS[number % len(COLOURS)]
        style = STYLES[number // len(COLOURS) % len(STYLES)]
        where = np.linspace(0, 1, len(curve)) if len(curve) > 1 else np.ones(1)
        axes.plot(where, curve, marker=".", ls=style, label=name, color=colour)
        axes.plot(where[result.probe.depth], curve[result.probe.depth], "o", ms=10, mfc="none", color=colour)
    axes.set_xlabel("depth (0: after the first block, 1: the last feature; circled: the depth that is used)")
    axes.set_ylabel(f"{scorer.name} of a linear head, mean over folds")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    save_svg(figure, path)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which of (cost, score) no other beats: none is at most as dear and scores more, or is cheaper and scores as much.

    By rising cost. Of equal points the first stands for all.
    """
    front: list[int] = []
    for place in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1])):
        if not front or points[place][1] > points[front[-1]][1]:
            front.append(place)
    return front


def draw_pareto(results: Sequence[CandidateResult], path: Path, by: Criterion = DEFAULT) -> None:
    """Score against the measured time of one image, with the Pareto front; without times an empty plot says so."""
    timed = [item for item in ranked(results) if item.measured is not None]
    figure, axes = plotting().subplots(figsize=(8, 4.8), layout="constrained")
    axes.set_xlabel("time of one image (ms, median; whiskers: 95% interval)")
    axes.set_ylabel(f"cross-validated {by.scorer.name}")
    axes.grid(alpha=0.3)
    if not timed:
        axes.text(0.5, 0.5, "no candidate was timed", ha="center", transform=axes.transAxes)
        save_svg(figure, path)
        return
    points = [(item.measured.latency_ms.value, item.mean) for item in timed if item.measured is not None]
    places = pareto_front(points)
    points = [(time, by.scorer.shown(score)) for time, score in points]
    front = [points[place] for place in places]
    winner, names = choose_winner(results, by), names_of(timed)
    for item in timed:
        _point(axes, item, item is winner, by.scorer)
    # Names where there is something to choose_winner between; a name for every point would lie over the others.
    chosen = [place for place, item in enumerate(timed) if item is winner]
    for number, place in enumerate(dict.fromkeys([*chosen, *reversed(places)])):
        if number < MOST_LABELS:
            above = number % 2 == 0
            axes.annotate(
                names[place], points[place], (6, 7 if above else -13), textcoords="offset points", fontsize="x-small"
            )
    axes.margins(x=0.25, y=0.15)
    axes.set_xlim(left=0)
    # To the right edge: what is slower than the best and no better is behind the front too.
    front.append((axes.get_xlim()[1], front[-1][1]))
    axes.step(*zip(*front, strict=True), where="post", color=ORANGE, lw=1.2, label="Pareto front", zorder=1)
    _legend(figure, axes)
    save_svg(figure, path)


def _point(axes: Any, item: CandidateResult, chosen: bool, scorer: Scorer) -> None:
    assert item.measured is not None
    time = item.measured.latency_ms
    kind = "over a limit" if item.excess else "finalist, trained in every fold" if item.is_finalist else "linear probe"
    marker, colour = {"over a limit": ("x", GREY), "linear probe": ("s", GREY)}.get(kind, ("o", BLUE))
    spread = [[time.value - time.low], [time.high - time.value]]
    axes.errorbar(
        time.value, scorer.shown(item.mean), xerr=spread, fmt=marker, color=colour, capsize=3, label=kind, zorder=2
    )
    if chosen:
        axes.plot(time.value, scorer.shown(item.mean), "o", ms=13, mfc="none", color=BLUE, label="chosen", zorder=3)
