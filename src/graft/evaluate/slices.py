"""Where a model is weaker than as a whole: accuracy by size, brightness, sharpness, folder and the user's columns.

Among many slices some look bad by chance. So a slice is called weak only where the upper end of its interval lies
below the accuracy of the whole, with the interval widened for as many comparisons as were made (Bonferroni: each at a
level of 1 - 0.05 / m); if no slice is weak, some slice is called so in at most 5% of evaluations. A slice of fewer
than ``LEAST`` images (groups of near duplicates count once) is shown and never called anything.

To add a fact, add a row to ``NUMBERS`` or ``NAMES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.evaluate.intervals import LEVEL
from graft.images.facts import OWN_COLUMNS

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

LEAST = 20
QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")
# Values of one column that are shown, the most frequent ones.
MOST_VALUES = 20
COLUMNS = ("fact", "slice", "n", "accuracy", "accuracy_low", "accuracy_high", "compared", "weak")


@dataclass(frozen=True)
class Slice:
    """Test images that have something in common.

    Attributes:
        fact: what was looked at, such as ``brightness``.
        name: which of them these are, such as ``lowest quarter: below 0.21``.
        n: images.
        accuracy: share named rightly, in [0, 1].
        low, high: Wilson's 95% interval for this slice by itself.
        compared: it has enough images to be compared with the whole.
        weak: its accuracy is below that of the whole by more than chance explains.
    """

    fact: str
    name: str
    n: int
    accuracy: float
    low: float
    high: float
    compared: bool
    weak: bool


@dataclass(frozen=True)
class _Part:
    fact: str
    name: str
    members: NDArray[np.bool_]


def _shorter_side(table: pd.DataFrame) -> pd.Series:
    return table[["width", "height"]].min(axis=1)


def _folder(table: pd.DataFrame) -> pd.Series:
    """The folder of the source that an image came from, without the class's own name in it."""
    import pandas as pd

    def folder(source: str, label: str) -> str:
        return "/".join(part for part in source.split("/")[:-1] if part != label) or "."

    pairs = zip(table["source"].astype(str), table["label"].astype(str), strict=True)
    return pd.Series([folder(source, label) for source, label in pairs], index=table.index)


NUMBERS: dict[str, tuple[frozenset[str], Callable[[pd.DataFrame], pd.Series]]] = {
    "shorter side (px)": (frozenset({"width", "height"}), _shorter_side),
    "brightness": (frozenset({"brightness"}), lambda table: table["brightness"]),
    "contrast": (frozenset({"contrast"}), lambda table: table["contrast"]),
    "sharpness": (frozenset({"sharpness"}), lambda table: table["sharpness"]),
}
NAMES: dict[str, tuple[frozenset[str], Callable[[pd.DataFrame], pd.Series]]] = {
    "folder": (frozenset({"source", "label"}), _folder),
    "file format": (frozenset({"format"}), lambda table: table["format"]),
    "colour mode": (frozenset({"mode"}), lambda table: table["mode"]),
}


def slices(manifest: pd.DataFrame, right: NDArray[np.bool_], units: NDArray[np.intp]) -> tuple[Slice, ...]:
    """Every slice, weak ones first, then by accuracy.

    Args:
        manifest: a row per test image, in their order, with the facts; columns that graft does not know are the
            user's, and become slices too.
        right: which images were named rightly, (n,).
        units: int (n,): images of one group have the same number (near duplicates tell as much as one image).
    """
    parts = [*_numeric(manifest), *_named(manifest)]
    counts = [len(np.unique(units[part.members])) for part in parts]
    compared = sum(count >= LEAST for count in counts)
    whole = float(right.mean()) if len(right) else 0.0
    found = [
        _slice(part, right[part.members], count, compared, whole) for part, count in zip(parts, counts, strict=True)
    ]
    return tuple(sorted(found, key=lambda item: (not item.weak, item.accuracy, item.fact, item.name)))


def _slice(part: _Part, right: NDArray[np.bool_], units: int, compared: int, whole: float) -> Slice:
    share = float(right.mean())
    low, high = wilson(share, units, LEVEL)
    enough = units >= LEAST
    widened = wilson(share, units, 1 - (1 - LEVEL) / max(compared, 1))[1]
    return Slice(part.fact, part.name, len(right), share, low, high, enough, enough and widened < whole)


def wilson(share: float, units: int, level: float) -> tuple[float, float]:
    """Wilson's interval (JASA 1927) for a share seen on ``units`` independent images."""
    from scipy.stats import binomtest

    found = binomtest(round(share * units), units).proportion_ci(level, method="wilson")
    # Rounding to whole units can leave the share itself outside by a hair.
    return min(float(found.low), share), max(float(found.high), share)


def _numeric(manifest: pd.DataFrame) -> Iterator[_Part]:
    import pandas as pd

    for fact, (needs, of) in NUMBERS.items():
        if needs <= set(manifest.columns):
            yield from _quarters(fact, pd.to_numeric(of(manifest), errors="coerce"))
    for column in _users(manifest):
        if _is_number(manifest[column]):
            yield from _quarters(column, pd.to_numeric(manifest[column]))


def _named(manifest: pd.DataFrame) -> Iterator[_Part]:
    for fact, (needs, of) in NAMES.items():
        if needs <= set(manifest.columns):
            yield from _values(fact, of(manifest))
    for column in _users(manifest):
        if not _is_number(manifest[column]):
            yield from _values(column, manifest[column])


def _users(manifest: pd.DataFrame) -> list[str]:
    return [str(column) for column in manifest.columns if column not in OWN_COLUMNS]


def _is_number(values: pd.Series) -> bool:
    """A measurement, and no code of which there are few."""
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce")
    return bool(numbers.notna().equals(values.notna())) and numbers.nunique() > len(QUARTERS)


def _quarters(fact: str, values: pd.Series) -> Iterator[_Part]:
    """Four parts of about equal size, between the test images' own quartiles; few values are a part each."""
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    known = numbers[np.isfinite(numbers)]
    if len(np.unique(known)) <= len(QUARTERS):
        yield from _values(fact, values)
        return
    edges = np.quantile(known, [0.25, 0.5, 0.75])
    place = np.where(np.isfinite(numbers), np.searchsorted(edges, numbers, side="left"), -1)
    ends = ("", *(f"{edge:.3g}" for edge in edges), "")
    for quarter, name in enumerate(QUARTERS):
        if (members := place == quarter).any():
            yield _Part(fact, f"{name}: {_between(ends[quarter], ends[quarter + 1])}", members)


def _between(low: str, high: str) -> str:
    if not low:
        return f"up to {high}"
    return f"above {low}" if not high else f"{low} to {high}"


def _values(fact: str, values: pd.Series) -> Iterator[_Part]:
    """A part for each of the most frequent values; none where all images have the same."""
    counts = values.value_counts()
    if len(counts) < 2:
        return
    for value in counts.index[:MOST_VALUES]:
        yield _Part(fact, str(value), (values == value).fillna(False).to_numpy(dtype=np.bool_))


def weakest(found: tuple[Slice, ...]) -> Slice | None:
    """The weak slice of least accuracy; without any, the least accurate of those that were compared."""
    return next((item for item in found if item.compared), None)


def slices_table(found: tuple[Slice, ...]) -> pd.DataFrame:
    """A row per slice, weak ones first; only the heading where there is none."""
    import pandas as pd

    rows = [(x.fact, x.name, x.n, x.accuracy, x.low, x.high, x.compared, x.weak) for x in found]
    return pd.DataFrame(rows, columns=list(COLUMNS))
