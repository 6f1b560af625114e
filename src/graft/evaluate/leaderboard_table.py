"""The leaderboard on the page: few columns that are read, the rest in a second table, and what the scores agreed on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graft.evaluate.exhibits import Column, Row, Table
from graft.evaluate.scorer import ACCURACY, Scorer, scorer
from graft.evaluate.wording import cell, percent

if TYPE_CHECKING:
    import pandas as pd

MOST_CANDIDATES = 20
# What `select.rule` says, for people.
RULES: Mapping[str, str] = {
    "accurate": "the best mean wins, among equals the cheapest to serve (select.rule: accurate)",
    "cheap": "the cheapest to serve wins, of those whose difference to the best mean may be chance: the 95% interval "
    "of the paired differences by fold, corrected for training parts that overlap, holds zero (select.rule: cheap)",
}
_TITLES = {
    "arch": "network",
    "size": "input (px)",
    "depth": "cut after block",
    "finetuned_mean": "fine-tuned ± SE",
    "probe_mean": "linear probe ± SE",
    "params_m": "params (million)",
    "gmacs": "GMACs",
}
# Folds stay in the file: a row of raw scores tells a reader less than their mean and standard error.
_LEFT_OUT = ("fold_scores",)
# What a leaderboard must have to be shown as selection writes it; any other is shown as it is.
_OWN = frozenset({"rank", "name", "kind", "score", "score_se", "finetuned_mean", "probe_mean", "depth", "why"})


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


def scorer_of(table: pd.DataFrame) -> Scorer:
    """What the scores of a leaderboard are: of one made before they had a choice, accuracies."""
    return ACCURACY if table.empty or "metric" not in table.columns else scorer(str(table["metric"].iloc[0]))


def chosen_row(table: pd.DataFrame) -> int:
    """Place of the winner: the first row whose ``why`` begins with "chosen", else the first row."""
    if "why" in table.columns:
        for place, why in enumerate(table["why"]):
            if str(why).startswith("chosen"):
                return place
    return 0


def leaderboard_tables(table: pd.DataFrame) -> tuple[Table, ...]:
    """What is read first, with the reason under each row and the winner marked; then the rest of the figures."""
    if not set(table.columns) >= _OWN:
        return (leaderboard_table(table),)
    shown, more = _shown(table)
    winner, columns = chosen_row(table), _main(scorer_of(table))
    main = [Row(tuple(figure(row) for _, figure in columns), place == winner, cell(row["why"])) for place, row in shown]
    # Only networks have more figures: what failed before it was built, and controls without one, have none.
    networks = [(place, row) for place, row in shown if _value(row, "params_m") is not None]
    rest = [Row(tuple(figure(row) for _, figure in _REST), place == winner) for place, row in networks]
    return Table(_head(columns), tuple(main), more), Table(_head(_REST), tuple(rest))


def _shown(table: pd.DataFrame) -> tuple[list[tuple[int, pd.Series]], str]:
    """The first candidates and all controls with their places, and what was left out, in words."""
    rows = [(place, row) for place, (_, row) in enumerate(table.iterrows())]
    candidates = [item for item in rows if item[1]["kind"] != "control"]
    controls = [item for item in rows if item[1]["kind"] == "control"]
    hidden = len(candidates) > MOST_CANDIDATES
    more = f" The first {MOST_CANDIDATES} of {len(candidates)} candidates are shown." if hidden else ""
    return candidates[:MOST_CANDIDATES] + controls, more


def _value(row: pd.Series, name: str) -> float | None:
    """A figure, or None where the file has no such column or an empty cell."""
    text = cell(row[name]) if name in row.index else "–"
    return None if text == "–" else float(row[name])


def _score(scorer: Scorer, mean: str, error: str) -> Callable[[pd.Series], str]:
    def figure(row: pd.Series) -> str:
        value = _value(row, mean)
        return "–" if value is None else scorer.figure(scorer.shown(value), _value(row, error))

    return figure


def _plain(name: str, form: str = "{:.3g}") -> Callable[[pd.Series], str]:
    def figure(row: pd.Series) -> str:
        value = _value(row, name)
        return "–" if value is None else form.format(value).replace("-", "−")

    return figure


def _by(row: pd.Series) -> str:
    if row["kind"] == "control":
        return "control"
    if _value(row, "score") is None:
        return "failed"
    return "linear probe" if _value(row, "finetuned_mean") is None else "fine-tuned"


def _cut(row: pd.Series) -> str:
    depth, blocks = _value(row, "depth"), _value(row, "blocks")
    if depth is None or blocks is None:
        return "–"
    return "not cut" if depth == blocks - 1 else f"{depth:.0f} of {blocks - 1:.0f}"


def _saved(name: str) -> Callable[[pd.Series], str]:
    """The share of the whole network that the cut leaves out; a dash where it leaves out nothing."""

    def figure(row: pd.Series) -> str:
        saved, left = _value(row, f"saved_{name}"), _value(row, name)
        return "–" if saved is None or left is None or saved <= 0 else f"{saved / (saved + left):.0%}"

    return figure


def _interval(name: str, form: str) -> Callable[[pd.Series], str]:
    """A measured figure with its 95% interval, as ``3.2 (3.1 to 3.4)``."""

    def figure(row: pd.Series) -> str:
        value, low, high = (_value(row, f"{name}{end}") for end in ("", "_low", "_high"))
        if value is None or low is None or high is None:
            return "–"
        return f"{form.format(value)} ({form.format(low)} to {form.format(high)})"

    return figure


_Figures = Sequence[tuple[Column, Callable[["pd.Series"], str]]]


def _main(scorer: Scorer) -> _Figures:
    return (
        (Column("rank", number=True), _plain("rank", "{:.0f}")),
        (Column("candidate"), lambda row: cell(row["name"])),
        (Column(f"{scorer.name} ± SE", number=True), _score(scorer, "score", "score_se")),
        (Column("by"), _by),
        (Column("linear probe ± SE", number=True), _score(scorer, "probe_mean", "probe_se")),
        (Column("params (million)", number=True), _plain("params_m")),
        (Column("GMACs", number=True), _plain("gmacs")),
        (Column("ms an image", number=True), _plain("latency_ms")),
    )


_REST: _Figures = (
    (Column("candidate"), lambda row: cell(row["name"])),
    (Column("cut after block"), _cut),
    (Column("params saved", number=True), _saved("params_m")),
    (Column("GMACs saved", number=True), _saved("gmacs")),
    (Column("k-NN", number=True), lambda row: percent(_value(row, "knn"))),
    (Column("LogME (nats)", number=True), _plain("logme")),
    (Column("ImageNet top-1", number=True), lambda row: percent(_value(row, "imagenet_top1"))),
    (Column("images a second (95%)", number=True), _interval("images_per_s", "{:.0f}")),
    (Column("memory (MB)", number=True), _plain("memory_mb")),
    (Column("seconds spent", number=True), _plain("seconds", "{:.1f}")),
)


def _head(figures: _Figures) -> tuple[Column, ...]:
    return tuple(column for column, _ in figures)


def leaderboard_table(table: pd.DataFrame) -> Table:
    """Whatever columns there are, with titles people read, the reason under each row and the winner marked.

    A column ``x_se`` is shown with its mean ``x_mean``, as ``96.2% ± 0.7``.
    """
    names = [str(name) for name in table.columns]
    shown = [name for name in names if name not in _LEFT_OUT and not _joins(name, names)]
    head = tuple(_column(name, table[name]) for name in shown)
    winner = chosen_row(table)
    rows = []
    for place, (_, values) in enumerate(table.iterrows()):
        note = cell(values["why"]) if "why" in names else ""
        rows.append(Row(tuple(_figure(name, values) for name in shown), place == winner, note))
    hidden = len(rows) - MOST_CANDIDATES
    more = f" The first {MOST_CANDIDATES} of {len(rows)} candidates are shown." if hidden > 0 else ""
    return Table(head, tuple(rows[:MOST_CANDIDATES]), more)


def why_chosen(table: pd.DataFrame) -> str:
    """The winner's reason as a sentence; empty where the leaderboard gives none."""
    if "why" not in table.columns:
        return ""
    row = table.iloc[chosen_row(table)]
    why = str(row["why"])
    if "arch" not in table.columns:
        return f"{why}."
    name = f"{row['arch']} ({row['weights']})" if "weights" in table.columns else str(row["arch"])
    return f"{name} was {why}." if why.startswith("chosen") else f"{name}: {why}."


def _joins(name: str, names: list[str]) -> bool:
    """Whether a column is shown inside or under others."""
    return (
        name == "why"
        or (name == "blocks" and "depth" in names)
        or (name.endswith("_se") and f"{name[:-3]}_mean" in names)
    )


def _column(name: str, values: pd.Series) -> Column:
    title = _TITLES.get(name, name.replace("_", " "))
    numeric = values.dtype.kind in "iufb"
    return Column(title, number=numeric, words=not numeric and bool(values.astype(str).str.len().max() > 30))


def _figure(name: str, row: pd.Series) -> str:
    """Scores are shares, so they are shown in percent, with their standard error; all else as it is."""
    text = cell(row[name])
    if name == "depth" and "blocks" in row.index:
        return f"{text} of {int(row['blocks']) - 1}"
    if text == "–" or not name.endswith("_mean"):
        return text
    error = f"{name[:-5]}_se"
    spread = "" if error not in row.index or cell(row[error]) == "–" else f" ± {100 * float(row[error]):.1f}"
    return percent(float(row[name])) + spread
