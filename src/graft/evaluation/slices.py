"""Accuracy on slices of the test images: by size, brightness, sharpness, folder and the user's columns.

Among many slices some look bad by chance. So a slice is called weak only where the upper end of its interval lies
below the accuracy of the whole, with the interval widened for as many comparisons as were made (Bonferroni: each at a
level of 1 - 0.05 / m); if no slice is weak, some slice is called so in at most 5% of evaluations. A slice of fewer
than ``LEAST`` images (groups of near duplicates count once) is shown and never called anything.

What the samples are sliced by is named by their modality (``slice_features``), and by the columns of a user's table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.modalities.base import Feature
from graft.modalities.registry import reserved_columns
from graft.stats.bootstrap import LEVEL

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Part = tuple[str, str, NDArray[np.bool_]]  # fact, name, members (n,)

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


def _folder(table: pd.DataFrame) -> pd.Series:
    """The folder of the source that an image came from, without the class's own name in it."""
    import pandas as pd

    pairs = zip(table["source"].astype(str), table["label"].astype(str), strict=True)
    folders = ["/".join(part for part in source.split("/")[:-1] if part != label) or "." for source, label in pairs]
    return pd.Series(folders, index=table.index)


FOLDER = Feature("folder", ("source", "label"), _folder, "category")


def slices(
    manifest: pd.DataFrame, right: NDArray[np.bool_], units: NDArray[np.intp], features: Sequence[Feature]
) -> tuple[Slice, ...]:
    """Every slice, weak ones first, then by accuracy.

    Args:
        manifest: a row per test image, in their order, with the facts; columns that graft does not know are the
            user's, and become slices too.
        right: which images were named rightly, (n,).
        units: int (n,): images of one group have the same number (near duplicates tell as much as one image).
        features: of the modality; see :class:`graft.modalities.base.Feature`.
    """
    parts = list(_parts(manifest, (*features, FOLDER)))
    counts = [len(np.unique(units[members])) for _, _, members in parts]
    compared = sum(count >= LEAST for count in counts)
    whole = float(right.mean()) if len(right) else 0.0
    found = []
    for (fact, name, members), count in zip(parts, counts, strict=True):
        share = float(right[members].mean())
        low, high = wilson(share, count, LEVEL)
        widened = wilson(share, count, 1 - (1 - LEVEL) / max(compared, 1))[1]
        enough = count >= LEAST
        found.append(Slice(fact, name, int(members.sum()), share, low, high, enough, weak=enough and widened < whole))
    return tuple(sorted(found, key=lambda item: (not item.weak, item.accuracy, item.fact, item.name)))


def wilson(share: float, units: int, level: float) -> tuple[float, float]:
    """Wilson's interval (JASA 1927) for a share seen on ``units`` independent images."""
    from scipy.stats import binomtest

    found = binomtest(round(share * units), units).proportion_ci(level, method="wilson")
    # Rounding to whole units can leave the share itself outside by a hair.
    return min(float(found.low), share), max(float(found.high), share)


def _parts(manifest: pd.DataFrame, features: Sequence[Feature]) -> Iterator[Part]:
    import pandas as pd

    for feature in features:
        if feature.is_in(manifest):
            values = feature.values(manifest)
            if feature.kind == "number":
                yield from _quarters(feature.name, pd.to_numeric(values, errors="coerce"))
            else:
                yield from _values(feature.name, values)
    own = [str(column) for column in manifest.columns if column not in reserved_columns()]
    for column in own:
        if _is_number(manifest[column]):
            yield from _quarters(column, pd.to_numeric(manifest[column]))
        else:
            yield from _values(column, manifest[column])


def _is_number(values: pd.Series) -> bool:
    """A measurement, and no code of which there are few."""
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce")
    return bool(numbers.notna().equals(values.notna())) and numbers.nunique() > len(QUARTERS)


def _quarters(fact: str, values: pd.Series) -> Iterator[Part]:
    """Four parts of about equal size, between the test images' own quartiles; few values are a part each."""
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    known = numbers[np.isfinite(numbers)]
    if len(np.unique(known)) <= len(QUARTERS):
        yield from _values(fact, values)
        return
    edges = np.quantile(known, [0.25, 0.5, 0.75])
    place = np.where(np.isfinite(numbers), np.searchsorted(edges, numbers, side="left"), -1)
    first, second, third = (f"{edge:.3g}" for edge in edges)
    ranges = (f"up to {first}", f"{first} to {second}", f"{second} to {third}", f"above {third}")
    for quarter, name in enumerate(QUARTERS):
        if (members := place == quarter).any():
            yield fact, f"{name}: {ranges[quarter]}", members


def _values(fact: str, values: pd.Series) -> Iterator[Part]:
    """A part for each of the most frequent values; none where all images have the same."""
    counts = values.value_counts()
    for value in counts.index[:MOST_VALUES] if len(counts) > 1 else ():
        yield fact, str(value), (values == value).fillna(False).to_numpy(dtype=np.bool_)


def weakest(found: tuple[Slice, ...]) -> Slice | None:
    """The weak slice of least accuracy; without any, the least accurate of those that were compared."""
    return next((item for item in found if item.compared), None)


def slices_table(found: tuple[Slice, ...]) -> pd.DataFrame:
    """A row per slice, weak ones first; only the heading where there is none."""
    import pandas as pd

    return pd.DataFrame([astuple(item) for item in found], columns=list(COLUMNS))
