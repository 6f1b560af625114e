"""Train or test, and which fold: seeded, stratified by class, and never with a group on two sides.

The rules, in order:

* Files that cannot be decoded, or that validation put into quarantine, are left out.
* Data that comes divided is used as it is; where a group lies on both sides, its *train* rows are left out.
  ``train_per_class`` and ``test_fraction`` are for dividing, and say nothing then.
* Else ``train_per_class = n`` keeps n images of every class for training, and all the rest is tested.
* Else ``test_fraction = f`` draws a share f of every class for the test.
* The training images are dealt into folds: every fold holds every class, and no group lies in two.

A group is what must stay together: copies, near copies and equal values of the user's ``group``, joined.

Whether an image is tested depends on its pixels (on its ``group``, where it has one) and on the seed, not on the
images beside it. :mod:`graft.images.draw` has the rule, and why it can promise no more than this:

* Adding images never moves an image from test to train, be they new ones, copies, near copies, links between groups
  or whole classes. An image that looks like a test image, or shares a group with one, is tested too, even if it was
  trained on before. One exception, which the log names: where none of a class was drawn, its first group is lent to
  the test, and may go back when images are added. With f = 0.2 this befalls one in 9 classes of 10 groups and one in
  87 of 20.
* Adding images does move training images to the test: with n, those whose places new ones take; with f, those that
  got a near copy or a group in the test, and some of a class that had hardly more groups than there are folds.
* Shares hold on average, not to the image: of N unlike images f N are tested, in 19 classes of 20 give or take
  2 sqrt(N f (1 - f)): with f = 0.2 that is 100 of 500, give or take 18. ``train_per_class`` holds to the image where
  all are unlike; else whole groups are taken, n images or more in no fewer groups than there are folds, less those
  that have near copies in the test or share a group with test images of another class.
* A larger f, or a smaller n, only adds to the test, but that images may go back that were lent by a class which now
  has others. Another seed draws anew, and so does another value of ``group``.
* Another label for one image moves others only where places are counted: with n, one takes its place in the class it
  left, and one makes room in the class it joins.
* Taking images away can move others from test to train: with n, those that take the free places; with f, those that
  were tested for a near copy's sake, and some of a class that has hardly more groups than there are folds.
* Many near copies swell the test: m of them, joined, are tested with the chance 1 - (1 - f)^m. Frames of films should
  name their film as ``group``: a film is tested with the chance f, however long it is.

Folds are dealt anew whenever the training images change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.determinism import derive_seed
from graft.errors import DataError
from graft.images.draw import Draw, draw_test
from graft.images.groups import group_rows, refuse_conflicts
from graft.images.manifest import usable
from graft.images.records import counted

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.settings import Params

COLUMNS = ("path", "label", "split", "fold", "group")
_ATTEMPTS = 20


@dataclass(frozen=True)
class Division:
    """A manifest divided.

    Attributes:
        table: a row per image that is used, sorted by path: path, label, split (``train`` or ``test``), fold (0 to
            k-1 for train, -1 for test) and group (a whole number).
        joined: images of each class that are tested only because they look like a test image or share its group.
        lent: images that each class of which none was drawn lends to the test, by class; the only ones that may go
            back to training when images are added.
    """

    table: pd.DataFrame
    joined: Mapping[str, int]
    lent: Mapping[str, tuple[str, ...]]


def make_splits(manifest: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The table of :func:`divide`, which raises DataError where the rules cannot be kept."""
    return divide(manifest, params).table


def divide(manifest: pd.DataFrame, params: Params) -> Division:
    """Divide the images of a manifest.

    Raises:
        DataError: the rules cannot be kept; the message names the class and its count.
    """
    rows = usable(manifest).sort_values("path", ignore_index=True)
    refuse_conflicts(rows)
    _refuse_one_class(rows)
    groups = group_rows(rows, params.validation.near_duplicate_distance)
    draw = _given(rows) if rows["split"].notna().any() else _drawn(rows, groups, params)
    joined = _count(rows["label"][draw.joined])
    table = rows[["path", "label"]].assign(
        split=np.where(draw.tested, "test", "train"), fold=np.int64(-1), group=groups
    )
    # Only a given split can part a group; what is drawn takes groups whole.
    parted = ~draw.tested & np.isin(groups, groups[draw.tested])
    table = table[~parted].reset_index(drop=True)
    _refuse_unusable(table, params.select.folds, joined)
    table.loc[table["split"] == "train", "fold"] = _folds(table[table["split"] == "train"], params)
    lent = {label: tuple(rows["path"][groups == group]) for label, group in draw.lent.items()}
    return Division(table[list(COLUMNS)].astype({"split": "str"}), joined, lent)


def _given(rows: pd.DataFrame) -> Draw:
    """The given test, with nothing added to it."""
    return Draw((rows["split"] == "test").to_numpy(dtype=bool), np.zeros(len(rows), dtype=bool), {})


def _drawn(rows: pd.DataFrame, groups: NDArray[np.int64], params: Params) -> Draw:
    number = params.data.train_per_class
    for label, count in _count(rows["label"]).items():
        if number is not None and count <= number:
            raise DataError(
                f"class {label!r} has {count} images, so {number} for training leave none to test",
                where="data.train_per_class",
                remedy=f"set it to {max(1, count - 1)} or less, add images, or set it to null",
            )
    return draw_test(rows, groups, params)


def _count(labels: Iterable[str]) -> dict[str, int]:
    """Images per class, by name."""
    return dict(sorted(Counter(labels).items()))


def _folds(train: pd.DataFrame, params: Params) -> NDArray[np.int64]:
    """A fold for every training row, so that every fold has every class.

    The splitter is greedy, and with few groups of several images it can leave a class out of a fold; then it is
    asked again with another seed, in a fixed order.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    classes = train["label"].nunique()
    for attempt in range(_ATTEMPTS):
        seed = derive_seed(params.seed, "folds", attempt) % 2**32
        splitter = StratifiedGroupKFold(params.select.folds, shuffle=True, random_state=seed)
        folds = np.full(len(train), -1, dtype=np.int64)
        for fold, (_, held_out) in enumerate(splitter.split(train, train["label"], train["group"])):
            folds[held_out] = fold
        present = train.groupby(folds)["label"].nunique()
        if len(present) == params.select.folds and (present == classes).all():
            return folds
    short = min(train["label"].unique(), key=lambda label: len(set(folds[(train["label"] == label).to_numpy()])))
    raise DataError(
        f"class {short!r} cannot be spread over {params.select.folds} folds: its groups are too uneven",
        where="select.folds",
        remedy="use fewer folds, or split its largest group",
    )


def _refuse_one_class(rows: pd.DataFrame) -> None:
    labels = sorted(rows["label"].unique())
    if len(labels) < 2:
        raise DataError(
            f"there is only one class, {labels[0]!r}" if labels else "there are no images that can be decoded",
            where="data.source",
            remedy="a classifier needs two classes: add a folder with images of the other",
        )


def _refuse_unusable(table: pd.DataFrame, folds: int, joined: Mapping[str, int]) -> None:
    """What training could not work with, whatever led to it."""
    train, test = table[table["split"] == "train"], table[table["split"] == "test"]
    if not len(test):
        raise DataError("no image is left to test on", where="data.source", remedy="add images, or a test folder")
    groups = train.groupby("label")["group"].nunique()
    for label in sorted(table["label"].unique()):
        count, images = int(groups.get(label, 0)), int((train["label"] == label).sum())
        if count == 0:
            raise DataError(
                f"class {label!r} is in the test split but has no training image",
                where="data.source",
                remedy="add training images of it, or take its test images out" + _joined(joined, label),
            )
        if count < folds:
            grouped = f" in {counted(count, 'group')}" if count < images else ""
            raise DataError(
                f"class {label!r} has {counted(images, 'training image')}{grouped}, fewer than the {folds} folds",
                where="select.folds",
                remedy=(
                    f"add images of it, or set select.folds to {max(2, count)} or less"
                    if count >= 2
                    else "add images of it, or take the class out"
                )
                + _joined(joined, label),
            )


def _joined(joined: Mapping[str, int], label: str) -> str:
    """What to do where near copies have taken a class's images to the test."""
    if label not in joined:
        return ""
    return (
        f"; {counted(joined[label], 'image')} of it must be tested for looking like test images: where they are frames"
        " of films or parts of one thing, name it for each image in a table's column `group`"
    )
