"""What other stages left for the report: pictures, made to stand alone; and what a table of the page is."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path

_KINDS = {".svg": "image/svg+xml", ".png": "image/png"}
_CAPTIONS = {
    "latency": "Accuracy against the measured time of one image. On the line, no candidate is both faster and better.",
    "scores": "Mean cross-validated score of every candidate, with one standard error to each side.",
    "depths": "Accuracy of a linear head on every block's output: how much of the network the task wants.",
    "curves": "Training loss by epoch, of the model and its control; epoch 0 is the head alone.",
}


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
