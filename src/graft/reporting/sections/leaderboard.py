"""Selection's leaderboard as a table of the report, and its reasons in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.metrics.formatting import cell
from graft.metrics.scorer import ACCURACY, Scorer, scorer
from graft.metrics.table import MetricTable
from graft.reporting.blocks import Column, Row, Table

if TYPE_CHECKING:
    import pandas as pd

MOST_CANDIDATES = 20
# What `select.rule` says, for people.
RULES: Mapping[str, str] = {
    "accurate": "the best mean wins, among equals the cheapest to serve (select.rule: accurate)",
    "cheap": "the cheapest to serve wins, of those whose difference to the best mean may be chance: the 95% interval "
    "of the paired differences by fold, corrected for training parts that overlap, holds zero (select.rule: cheap)",
}
_Figure = Callable[["pd.Series"], str]


def read_leaderboard(path: Path) -> pd.DataFrame | None:
    """The leaderboard as selection wrote it, best first; None where there is none or it is empty."""
    import pandas as pd

    if not path.exists():
        return None
    # Text such as "none" must stay text, it is a kind of weights; only an empty cell is nothing.
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    return None if table.empty else table


def read_agreement(path: Path) -> tuple[str, ...]:
    """What agreement.json says in words, a sentence or two for each score; nothing where there is no such file."""
    if not path.exists():
        return ()
    return tuple(str(item["said"]) for item in json.loads(path.read_text(encoding="utf-8")).values())


def leaderboard_table(board: pd.DataFrame, metrics: MetricTable[Any]) -> tuple[Table, str]:
    """The first candidates and all controls, the winner marked, the reason under each; and what was left out."""
    rows = [(place, row) for place, (_, row) in enumerate(board.iterrows())]
    candidates = [item for item in rows if item[1]["kind"] != "control"]
    controls = [item for item in rows if item[1]["kind"] == "control"]
    winner, figures = _winner(board), _figures(_scorer_of(board, metrics))
    shown = tuple(
        Row(tuple(figure(row) for _, figure in figures), place == winner, cell(row["why"]))
        for place, row in [*candidates[:MOST_CANDIDATES], *controls]
    )
    hidden = len(candidates) > MOST_CANDIDATES
    more = f" The first {MOST_CANDIDATES} of {len(candidates)} candidates are shown." if hidden else ""
    return Table("Leaderboard of candidates", tuple(column for column, _ in figures), shown), more


def why_chosen(board: pd.DataFrame) -> str:
    """The winner's reason as a sentence."""
    row = board.iloc[_winner(board)]
    name = f"{row['arch']} ({row['weights']})"
    return f"{name} was {row['why']}." if str(row["why"]).startswith("chosen") else f"{name}: {row['why']}."


def _winner(board: pd.DataFrame) -> int:
    """Place of the first row whose ``why`` begins with "chosen", else the first."""
    return next((place for place, why in enumerate(board["why"]) if str(why).startswith("chosen")), 0)


def _scorer_of(board: pd.DataFrame, metrics: MetricTable[Any]) -> Scorer:
    """What the scores are: accuracies in a leaderboard without a column that says so."""
    return ACCURACY if board.empty or "metric" not in board.columns else scorer(str(board["metric"].iloc[0]), metrics)


def _figures(by: Scorer) -> Sequence[tuple[Column, _Figure]]:
    return (
        (Column("rank", number=True), _plain("rank", "{:.0f}")),
        (Column("candidate"), lambda row: cell(row["name"])),
        (Column(f"{by.name} ± SE", number=True), _score(by, "score", "score_se")),
        (Column("by"), _judged_by),
        (Column("linear probe ± SE", number=True), _score(by, "probe_mean", "probe_se")),
        (Column("params (million)", number=True), _plain("params_m")),
        (Column("GMACs", number=True), _plain("gmacs")),
        (Column("ms an image", number=True), _plain("latency_ms")),
    )


def _value(row: pd.Series, name: str) -> float | None:
    """A figure, or None where the file has no such column or an empty cell."""
    text = cell(row[name]) if name in row.index else "–"
    return None if text == "–" else float(row[name])


def _score(by: Scorer, mean: str, error: str) -> _Figure:
    def figure(row: pd.Series) -> str:
        value = _value(row, mean)
        return "–" if value is None else by.figure(by.shown(value), _value(row, error))

    return figure


def _plain(name: str, form: str = "{:.3g}") -> _Figure:
    def figure(row: pd.Series) -> str:
        value = _value(row, name)
        return "–" if value is None else form.format(value).replace("-", "−")

    return figure


def _judged_by(row: pd.Series) -> str:
    if row["kind"] == "control":
        return "control"
    if _value(row, "score") is None:
        return "failed"
    return "linear probe" if _value(row, "finetuned_mean") is None else "fine-tuned"
