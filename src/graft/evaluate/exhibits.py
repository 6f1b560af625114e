"""What other stages left for the report: the leaderboard and pictures, read as they are and made to stand alone."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from graft.evaluate.wording import cell, percent

if TYPE_CHECKING:
    import pandas as pd

MOST_CANDIDATES = 20
_KINDS = {".svg": "image/svg+xml", ".png": "image/png"}
_CAPTIONS = {
    "scores": "Mean cross-validated score of every candidate, with one standard error to each side.",
    "depths": "Accuracy of a linear head on every block's output: how much of the network the task wants.",
    "curves": "Loss and hold-out accuracy by epoch; a dashed line is where the next stage of the training begins.",
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


@dataclass(frozen=True)
class Column:
    """A column's title, and whether it holds numbers (set to the right) or sentences (given room)."""

    title: str
    number: bool = False
    words: bool = False


@dataclass(frozen=True)
class Row:
    """Cells as text; a chosen row is marked, and a note stands under the cells."""

    cells: tuple[str, ...]
    chosen: bool = False
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table for the page; ``more`` says what was left out."""

    head: tuple[Column, ...]
    rows: tuple[Row, ...] = field(default=())
    more: str = ""


@dataclass(frozen=True)
class Picture:
    """An image as a ``data:`` address, its alternative text and its caption."""

    src: str
    alt: str
    caption: str


def pictures(folder: Path) -> tuple[Picture, ...]:
    """Every .svg and .png of ``folder``, by name; none where there is no folder."""
    files = sorted(path for path in folder.glob("*") if path.suffix in _KINDS) if folder.is_dir() else []
    return tuple(_picture(path) for path in files)


def _picture(path: Path) -> Picture:
    payload = base64.b64encode(path.read_bytes()).decode()
    caption = _CAPTIONS.get(path.stem, path.stem.replace("_", " ").replace("-", " ").capitalize())
    return Picture(f"data:{_KINDS[path.suffix]};base64,{payload}", caption, caption)


def read_leaderboard(path: Path) -> pd.DataFrame | None:
    """The leaderboard as selection wrote it, best first; None where there is none or it is empty."""
    import pandas as pd

    if not path.exists():
        return None
    # Text such as "none" must stay text, it is a kind of weights; only an empty cell is nothing.
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    return None if table.empty else table


def chosen_row(table: pd.DataFrame) -> int:
    """Place of the winner: the first row whose ``why`` begins with "chosen", else the first row."""
    if "why" in table.columns:
        for place, why in enumerate(table["why"]):
            if str(why).startswith("chosen"):
                return place
    return 0


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
