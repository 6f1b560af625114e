"""The stratified, remembered split (``data.split: stratified``).

The test has its share of every class as nearly as whole groups allow. In an order that is a hash of each group's
fingerprints and the seed, a group is taken into the test where that lowers the sum over classes c of
((tested_c - wanted_c) / images_c)^2. scikit-learn's StratifiedGroupKFold, which deals the folds, takes neither a share
nor groups that have their side already, and puts the largest groups first.

What an earlier run tested or trained on keeps its side, by its fingerprint (:mod:`graft.data.splits.history`). Adding,
removing and renaming files, correcting labels and another seed move none from one side to the other. A sample that was
trained on and turns out to be in a group with a test sample is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graft.core.determinism import derive_seed
from graft.data.splits.hash_split import TestSplit
from graft.data.splits.history import SplitHistory, asked_of

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.core.settings import Params

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]
    # For every group (class, number of images) of each class in it.
    Contents = Sequence[Sequence[tuple[int, int]]]


def stratified_split(rows: pd.DataFrame, groups: Ints, params: Params, history: SplitHistory | None) -> TestSplit:
    """Take whole groups for the test, by ``data.train_per_class`` or else ``data.test_fraction``.

    Args:
        rows: label and fingerprint; a row per sample.
        groups: (n,), each row's group, in which near copies and the user's groups are joined.
        params: the two keys, ``seed`` and ``select.folds``.
        history: earlier splits. By the same two keys what they placed stays: a group with a sample that was tested is
            tested, but for its samples that were trained on; one with a sample that was trained on is not. By other
            keys all is split again, groups that were tested first.

    Returns:
        The test; ``pulled_in_by_group`` are new samples in groups with samples that were tested.
    """
    import pandas as pd

    known = SplitHistory({}) if history is None else history
    was_tested = rows["fingerprint"].isin(known.tested).to_numpy(dtype=bool)
    was_trained = rows["fingerprint"].isin(known.trained).to_numpy(dtype=bool)
    keeps = known.asked == asked_of(params)
    codes, names = pd.factorize(groups, sort=True)
    kept = _of_groups(codes, was_tested & keeps)
    free = ~kept & ~_of_groups(codes, was_trained & keeps)
    firsts = rows["fingerprint"].groupby(codes).min()
    places = [derive_seed(params.seed, "split", pixels) for pixels in firsts]
    order = np.lexsort((np.array(places), ~_of_groups(codes, was_tested)))
    contents = _contents(codes, pd.factorize(rows["label"], sort=True)[0], len(names))
    drawn = _fill(contents, kept, order[free[order]].tolist(), params)
    tested = drawn[codes] & ~(was_trained & keeps)
    return TestSplit(tested, tested & kept[codes] & ~was_tested, {})


def _of_groups(codes: Ints, images: Bools) -> Bools:
    """Which groups hold one of ``images``, bool (groups)."""
    return np.bincount(codes, weights=images) > 0


def _contents(codes: Ints, labels: Ints, groups: int) -> list[list[tuple[int, int]]]:
    """For every group (class, number of images) of each class in it."""
    contents: list[list[tuple[int, int]]] = [[] for _ in range(groups)]
    classes = int(labels.max()) + 1
    for cell, count in zip(*np.unique(codes * np.int64(classes) + labels, return_counts=True), strict=True):
        contents[cell // classes].append((int(cell % classes), int(count)))
    return contents


def _fill(contents: Contents, kept: Bools, order: Sequence[int], params: Params) -> Bools:
    """Which groups are tested: those that are ``kept``, and of those in ``order`` what brings the shares nearer."""
    sides = _Sides(contents, params)
    for group in np.flatnonzero(kept).tolist():
        sides.take(group)
    # What fits, and then, where less is missing than any group holds, the smallest of those that bring it nearer. A
    # class that was to keep all gives its smallest group: without a test image nothing would be known of it.
    smallest_first = sorted(order, key=lambda group: sum(count for _, count in contents[group]))
    for rule, groups in ((sides.fits, order), (sides.brings_nearer, smallest_first), (sides.is_needed, smallest_first)):
        for group in groups:
            if not sides.tested[group] and rule(group):
                sides.take(group)
    return np.array(sides.tested)


class _Sides:
    """How many images and groups of each class are on which side, while groups are taken into the test."""

    def __init__(self, contents: Contents, params: Params) -> None:
        self.contents = contents
        self.tested = [False] * len(contents)
        images = Counter[int]()
        self.groups = Counter(label for cells in contents for label, _ in cells)
        for label, count in (cell for cells in contents for cell in cells):
            images[label] += count
        self.images, self.trained = images, images.copy()
        number, share = params.data.train_per_class, params.data.test_fraction
        # A test of less than one image of a class would be none.
        self.wanted = {label: max(1, n * share if number is None else n - number) for label, n in images.items()}
        self.least_images = number or 0
        self.least_groups = params.select.folds if number is None else min(params.select.folds, number)

    def take(self, group: int) -> None:
        """Test a group."""
        self.tested[group] = True
        for label, count in self.contents[group]:
            self.trained[label] -= count
            self.groups[label] -= 1

    def fits(self, group: int) -> bool:
        """Whether training can spare it and the test is not more than was wanted then."""
        return self._spared(group) and all(count <= self._missing(label) for label, count in self.contents[group])

    def brings_nearer(self, group: int) -> bool:
        """Whether training can spare it and the shares are nearer to what was wanted then."""
        gains = (n * (2 * self._missing(c) - n) / self.images[c] ** 2 for c, n in self.contents[group])
        return self._spared(group) and sum(gains) > 0

    def is_needed(self, group: int) -> bool:
        """Whether it has a class that would have no test image, and is not the last group of a class."""
        untested = any(self.trained[label] == self.images[label] for label, _ in self.contents[group])
        return untested and all(self.groups[label] > 1 for label, _ in self.contents[group])

    def _missing(self, label: int) -> float:
        return self.wanted[label] - (self.images[label] - self.trained[label])

    def _spared(self, group: int) -> bool:
        return all(
            self.groups[label] > self.least_groups and self.trained[label] - count >= self.least_images
            for label, count in self.contents[group]
        )
