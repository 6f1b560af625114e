"""Draws the test images: each by a place of its own, so that whatever is added later moves none of them to training.

A *unit* is what is drawn in one piece: the images of one value in the user's ``group`` column, and where there is no
value the copies of the same pixels. Its *place* is a number from 0 to 1, a hash of the unit's name and the seed: it
depends on nothing else, not on the unit's size, nor on labels, nor on what other images there are.

An image is tested by itself

* with ``test_fraction = f``: where its place is below f and at least k units of its class have higher places;
* with ``train_per_class = n``: where at least n images and min(k, n) units of its class have higher places.

k is the number of folds: that many units of a class are never drawn away from training. Then the whole group (units
joined by near copies) of an image that is tested by itself is tested. Why this is stable: more images can only make
each of these conditions true, never false, and can only join groups, never part them.

What no rule can have, unless it remembers earlier draws. Suppose that a class of m or more images always gets a test
image. Take m of those that are trained on as the whole data: one would be tested, and the rest, added again, moves it
to training. So in a class without any the first group is *lent* to the test, and is said to be. Nor can the shares be
nearer than chance: if the share is right in expectation for every number of images, no image may ever change, so each
is drawn for itself, and the share of n units spreads as the binomial distribution says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.core.determinism import derive_seed

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.core.settings import Params

    Ints = NDArray[np.int64]

# Seeds are below this.
_PLACES = 2.0**63


@dataclass(frozen=True)
class Draw:
    """What was drawn for the test.

    Attributes:
        tested: bool (n), a row per image.
        joined: bool (n), which of them are tested only because their group holds a test image.
        lent: the group that each class without a test image of its own lends to the test, by class.
    """

    tested: NDArray[np.bool_]
    joined: NDArray[np.bool_]
    lent: Mapping[str, int]


def draw_test(rows: pd.DataFrame, groups: Ints, params: Params) -> Draw:
    """Draw whole groups for the test, by ``data.train_per_class`` or else ``data.test_fraction``.

    Args:
        rows: label, pixel_sha256 and, where there is one, the user's group; a row per image.
        groups: each row's group, in which near copies and the user's groups are joined.
        params: the two keys, ``seed`` and ``select.folds``.
    """
    import pandas as pd

    units, names = pd.factorize(_units(rows))
    labels, classes = pd.factorize(rows["label"], sort=True)
    places = np.array([derive_seed(params.seed, "split", name) for name in names], dtype=np.float64)[units] / _PLACES
    own = _by_themselves(labels, units, places, params)
    tested = np.isin(groups, groups[own])
    lent = _lend(labels, groups, places, tested)
    return Draw(
        tested=tested | np.isin(groups, list(lent.values())),
        joined=tested & ~own,
        lent={str(classes[label]): group for label, group in lent.items()},
    )


def _units(rows: pd.DataFrame) -> pd.Series:
    """The name of what each image is drawn with."""
    copies = "pixels/" + rows["pixel_sha256"].astype("str")
    if "group" not in rows:
        return copies
    return copies.where(rows["group"].isna(), "group/" + rows["group"].astype("str"))


def _by_themselves(labels: Ints, units: Ints, places: NDArray[np.float64], params: Params) -> NDArray[np.bool_]:
    """Which images are tested for their own place, whatever group they are in."""
    images_above, units_above = _above(labels, units, places)
    folds, number = params.select.folds, params.data.train_per_class
    if number is not None:
        return (images_above >= number) & (units_above >= min(folds, number))
    return (places < params.data.test_fraction) & (units_above >= folds)


def _above(labels: Ints, units: Ints, places: NDArray[np.float64]) -> tuple[Ints, Ints]:
    """For every image the images, and the units, of its class that have higher places than its unit."""
    # A unit with images of two classes counts in both, each time with its images of that class.
    _, rows, part, sizes = np.unique(
        labels * np.int64(len(units)) + units, return_index=True, return_inverse=True, return_counts=True
    )
    falling = np.lexsort((-places[rows], labels[rows]))
    _, first = np.unique(labels[rows][falling], return_index=True)
    start = np.repeat(first, np.diff(np.append(first, len(falling))))
    before = np.cumsum(sizes[falling]) - sizes[falling]
    above = np.empty((2, len(falling)), dtype=np.int64)
    above[:, falling] = before - before[start], np.arange(len(falling)) - start
    return above[0][part], above[1][part]


def _lend(labels: Ints, groups: Ints, places: NDArray[np.float64], tested: NDArray[np.bool_]) -> dict[int, int]:
    """The first group, in the order of its places in the class, of each class that can spare one and has none there."""
    without = np.flatnonzero(~np.isin(labels, labels[tested]))
    without = without[np.lexsort((places[without], labels[without]))]
    lent: dict[int, int] = {}
    taken: set[int] = set()
    for of_class in np.split(without, np.flatnonzero(np.diff(labels[without])) + 1):
        candidates = groups[of_class].tolist()
        if len(set(candidates)) > 1 and taken.isdisjoint(candidates):
            lent[int(labels[of_class[0]])] = candidates[0]
            taken.add(candidates[0])
    return lent
