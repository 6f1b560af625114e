"""The stateless split (``data.split: hash``): each sample by a hash, so that added samples move none to training.

A *unit* is drawn as a whole: the samples of one value of the user's ``group``, else the copies of one fingerprint. Its
*place* is a number from 0 to 1, a hash of the unit's name and the seed. A sample is tested by itself

* with ``test_fraction = f``: where its place is below f and at least k units of its class have higher places;
* with ``train_per_class = n``: where at least n samples and min(k, n) units of its class have higher places.

k is the number of folds: that many units of a class are never taken from training. Then the whole group (units joined
by near copies) of a sample that is tested by itself is tested. More samples can only make each condition true, never
false, and can only join groups, never part them.

No stateless rule can promise a class a test sample: of m that are trained on, taken as the whole data, one would be
tested, and the rest, added again, moves it to training. So a class without any *borrows* its first group for the test.
Shares hold on average only: of n units, as the binomial distribution says.
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
class TestSplit:
    """Which rows are tested.

    Attributes:
        tested: bool (n).
        pulled_in_by_group: bool (n), which of them are tested only because their group holds a test sample.
        borrowed: the group that is tested, by class, of each class that had no test sample of its own.
    """

    __test__ = False  # no test of pytest's

    tested: NDArray[np.bool_]
    pulled_in_by_group: NDArray[np.bool_]
    borrowed: Mapping[str, int]


def hash_split(rows: pd.DataFrame, groups: Ints, params: Params) -> TestSplit:
    """Take whole groups for the test, by ``data.train_per_class`` or else ``data.test_fraction``.

    Args:
        rows: label, fingerprint and, where there is one, the user's group; a row per sample.
        groups: (n,), each row's group, in which near copies and the user's groups are joined.
        params: the two keys, ``seed`` and ``select.folds``.
    """
    import pandas as pd

    units, names = pd.factorize(_units(rows))
    places = np.array([derive_seed(params.seed, "split", name) for name in names], dtype=np.float64) / _PLACES
    table = pd.DataFrame({"label": rows["label"].to_numpy(), "unit": units, "place": places[units], "group": groups})
    own = _tested_alone(table, params)
    tested = np.isin(groups, groups[own])
    borrowed = _borrow(table[~table["label"].isin(table["label"][tested])])
    return TestSplit(tested | np.isin(groups, list(borrowed.values())), tested & ~own, borrowed)


def _units(rows: pd.DataFrame) -> pd.Series:
    """The name of each row's unit."""
    copies = "pixels/" + rows["fingerprint"].astype("str")
    if "group" not in rows:
        return copies
    return copies.where(rows["group"].isna(), "group/" + rows["group"].astype("str"))


def _tested_alone(table: pd.DataFrame, params: Params) -> NDArray[np.bool_]:
    """Which rows are tested for their own place, whatever group they are in."""
    # A unit with samples of two classes counts in both, each time with its samples of that class.
    cells = table.groupby(["label", "place", "unit"], as_index=False).size()
    by_class = cells.iloc[::-1].groupby("label")["size"]
    cells["units_above"] = by_class.cumcount()
    cells["samples_above"] = by_class.cumsum() - cells["size"]
    rows = table[["label", "unit"]].merge(cells, on=["label", "unit"], how="left")
    folds, number = params.select.folds, params.data.train_per_class
    if number is not None:
        tested = (rows["samples_above"] >= number) & (rows["units_above"] >= min(folds, number))
    else:
        tested = (rows["place"] < params.data.test_fraction) & (rows["units_above"] >= folds)
    return tested.to_numpy(dtype=bool)


def _borrow(table: pd.DataFrame) -> dict[str, int]:
    """The first group, by place, of each class in ``table`` that has another one; no group for two classes."""
    borrowed: dict[str, int] = {}
    taken: set[int] = set()
    for label, rows in table.groupby("label"):
        groups = rows.sort_values("place", kind="stable")["group"].tolist()
        if len(set(groups)) > 1 and taken.isdisjoint(groups):
            borrowed[str(label)] = groups[0]
            taken.add(groups[0])
    return borrowed
