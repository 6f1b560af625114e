"""Nested folds: outer ones to score a head, inner ones inside each training part to choose its strength and depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.determinism import derive_seed
from graft.core.errors import TrainingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FoldIds = frozenset[int]

PARTS = 3  # parts that each of two folds is cut into, since the training part is then one fold and has no folds inside


@dataclass(frozen=True)
class NestedFolds:
    """The outer folds, and the inner folds of each one's training part.

    The inner folds are the other outer folds. These are grouped already, so that near duplicates never lie on both
    sides inside a training part either; and what is fitted without the folds f and g serves f as well as g, so that
    of the F (F - 1) inner fits only half are computed.

    Attributes:
        cells: the smallest part that each image belongs to, int (n) in 0..c-1.
        outer: cells of each fold, in the folds' order.
    """

    cells: NDArray[np.int64]
    outer: tuple[FoldIds, ...]

    def inner(self, fold: int) -> tuple[FoldIds, ...]:
        """The folds inside the training part of outer fold number ``fold``, at least two."""
        others = self.outer[:fold] + self.outer[fold + 1 :]
        return others if len(others) > 1 else tuple(frozenset({cell}) for cell in sorted(others[0]))

    def rows(self, cells: FoldIds) -> NDArray[np.bool_]:
        """The images of ``cells``, bool (n)."""
        chosen = np.zeros(int(self.cells.max()) + 1, dtype=np.bool_)
        chosen[list(cells)] = True
        return chosen[self.cells]


def nested_folds(
    labels: NDArray[Any], folds: NDArray[np.int64], seed: int, groups: NDArray[Any] | None = None
) -> NestedFolds:
    """Nest the folds (n) of images with ``labels`` (n); ``groups`` (n) are needed for two folds only.

    With two folds a training part is a single fold. It is cut into three, class by class and group by group; without
    ``groups`` each image is a group of its own, and near duplicates may then lie on both sides.

    Raises:
        TrainingError: fewer than two folds, or two folds of which one cannot be cut.
    """
    names, index = np.unique(folds, return_inverse=True)
    remedy = "set select.folds to 3 or more, or add images"
    if len(names) < 2:
        raise TrainingError("the training images lie in one fold, so none are left to fit a head to", remedy=remedy)
    if len(names) > 2:
        return NestedFolds(index.astype(np.int64), tuple(frozenset({fold}) for fold in range(len(names))))
    cells = index * PARTS + _deal(labels, index, np.arange(len(labels)) if groups is None else groups, seed)
    present, cells = np.unique(cells, return_inverse=True)
    outer = tuple(frozenset(np.flatnonzero(present // PARTS == fold).tolist()) for fold in (0, 1))
    if min(len(part) for part in outer) < 2:
        raise TrainingError("one of the two folds holds a single group of images and cannot be cut", remedy=remedy)
    return NestedFolds(cells.astype(np.int64), outer)


def _deal(labels: NDArray[Any], folds: NDArray[Any], groups: NDArray[Any], seed: int) -> NDArray[np.int64]:
    """A number in 0..PARTS-1 per image: groups in random order, those of a class after each other, dealt in turn."""
    _, first, index = np.unique(groups, return_index=True, return_inverse=True)
    random = np.random.default_rng(derive_seed(seed, "inner folds"))
    dealt = np.empty(len(first), dtype=np.int64)
    for fold in np.unique(folds):
        here = np.flatnonzero(folds[first] == fold)
        order = here[np.lexsort((random.random(len(here)), labels[first[here]]))]
        dealt[order] = np.arange(len(order)) % PARTS
    return dealt[index]
