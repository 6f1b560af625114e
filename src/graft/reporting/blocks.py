"""Building blocks of the report's sections; html.py and model_card.py render each kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    style: Literal["", "muted small", "note"] = ""


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True)
class Badge:
    """A verdict: ``helps``, ``hurts`` or ``undecided``."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class FactList:
    """Names with a value each."""

    pairs: tuple[tuple[str, str], ...]


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
    """A table; a tall one scrolls in a box of its own."""

    label: str
    head: tuple[Column, ...]
    rows: tuple[Row, ...]
    tall: bool = False


@dataclass(frozen=True)
class Figure:
    """An inline SVG; only on the page."""

    svg: str
    alt: str
    caption: str


@dataclass(frozen=True)
class EmbeddedImage:
    """An image file as a ``data:`` address, its alternative text and its caption; only on the page."""

    src: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class SamplePreview:
    """A sample as its modality shows it, a self-contained piece of HTML, and what it is, in words."""

    html: str
    alt: str


@dataclass(frozen=True)
class GalleryItem:
    """Samples and pictures side by side (a text where there is none), and lines of caption: parts of (text, class)."""

    frames: tuple[SamplePreview | EmbeddedImage | str, ...]
    lines: tuple[tuple[tuple[str, str], ...], ...]


@dataclass(frozen=True)
class Gallery:
    """Small pictures with captions; only on the page."""

    title: str
    caption: str
    items: tuple[GalleryItem, ...]


@dataclass(frozen=True)
class Pair:
    """Blocks that stand side by side where there is room."""

    left: Block
    right: tuple[Block, ...]


@dataclass(frozen=True)
class Details:
    """A block that is unfolded on demand; only on the page."""

    summary: str
    block: Table


Block = Text | Heading | Badge | Bullets | FactList | Table | Figure | EmbeddedImage | Gallery | Pair | Details


def columns(*titles: str, numbers: str = "") -> tuple[Column, ...]:
    """Text columns, then those of ``numbers``, separated by commas."""
    return (*map(Column, titles), *(Column(title, number=True) for title in numbers.split(",") if title))
