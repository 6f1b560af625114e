"""Train or test, and which fold: seeded, stratified by class, and never with a group on two sides.

The rules, in order:

* Files that cannot be decoded, or that validation put into quarantine, are left out.
* A given test split is honoured exactly. Where a group straddles it, the *train* rows of that group are left out.
* Else ``train_per_class = n`` draws n images of every class for training, and all the rest is tested.
* Else ``test_fraction`` of every class is drawn for the test.
* Data that comes divided is used as it is: ``train_per_class`` and ``test_fraction`` are for dividing, and say nothing.

Groups are drawn in the order of a hash of their first image's content and the seed. So the draw depends neither on
the order of files nor on the other images, and most of it stays when images are added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from graft.determinism import derive_seed
from graft.errors import DataError
from graft.images.groups import group_rows, refuse_conflicts
from graft.images.manifest import usable

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.config import Params

COLUMNS = ("path", "label", "split", "fold", "group")
_ATTEMPTS = 20


def make_splits(manifest: pd.DataFrame, params: Params) -> pd.DataFrame:
    """Divide the images of a manifest.

    Returns:
        A row per image that is used, sorted by path: path, label, split (``train`` or ``test``), fold (0 to k-1 for
        train, -1 for test) and group (a whole number).

    Raises:
        DataError: the rules cannot be kept; the message names the class and its count.
    """
    rows = usable(manifest).sort_values("path", ignore_index=True)
    refuse_conflicts(rows)
    _refuse_one_class(rows)
    groups = group_rows(rows, params.validation.near_duplicate_distance)
    keys = _order(rows, groups, params.seed)
    split = _given(rows, groups) if rows["split"].notna().any() else _drawn(rows, groups, keys, params)
    table = rows[["path", "label"]].assign(split=split, fold=np.int64(-1), group=groups)
    table = table[table["split"] != ""].reset_index(drop=True)
    _refuse_unusable(table, params.select.folds)
    table.loc[table["split"] == "train", "fold"] = _folds(table[table["split"] == "train"], params)
    return table[list(COLUMNS)].astype({"split": "str"})


def _given(rows: pd.DataFrame, groups: NDArray[np.int64]) -> NDArray[np.object_]:
    """The given splits; train rows whose group is also in the test become ``""``: left out."""
    split = rows["split"].to_numpy(dtype=object, copy=True)
    tested = np.isin(groups, groups[split == "test"])
    split[(split == "train") & tested] = ""
    return split


def _drawn(
    rows: pd.DataFrame, groups: NDArray[np.int64], keys: Mapping[int, int], params: Params
) -> NDArray[np.object_]:
    counts = _count(rows["label"])
    number = params.data.train_per_class
    if number is not None:
        for label, count in counts.items():
            if count <= number:
                raise DataError(
                    f"class {label!r} has {count} images, so {number} for training leave none to test",
                    where="data.train_per_class",
                    remedy=f"set it to {max(1, count - 1)} or less, add images, or set it to null",
                )
        trained = _draw(rows, groups, keys, dict.fromkeys(counts, number), params.select.folds)
        return np.where(trained, "train", "test").astype(object)
    share = params.data.test_fraction
    wanted = {label: min(max(1, round(share * count)), count - 1) for label, count in counts.items()}
    return np.where(_draw(rows, groups, keys, wanted), "test", "train").astype(object)


def _order(rows: pd.DataFrame, groups: NDArray[np.int64], seed: int) -> Mapping[int, int]:
    """Each group's place in the draw, from the smallest of its images' contents."""
    first: dict[int, str] = {}
    for group, content in zip(groups.tolist(), rows["pixel_sha256"], strict=True):
        first[group] = min(first.get(group, content), content)
    return {group: derive_seed(seed, "split", content) for group, content in first.items()}


def _count(labels: Iterable[str]) -> dict[str, int]:
    """Images per class, by name."""
    return dict(sorted(Counter(labels).items()))


def _draw(
    rows: pd.DataFrame,
    groups: NDArray[np.int64],
    keys: Mapping[int, int],
    wanted: Mapping[str, int],
    parts: int = 1,
) -> NDArray[np.bool_]:
    """Draw whole groups until every class has what is wanted of it, never more unless its groups are too large.

    A group that would exceed any of its classes is passed over, and so is one so large that fewer than ``parts``
    groups of a class could be drawn. A class that then has none gets its smallest group, as long as another of its
    groups is left on the other side.
    """
    members: dict[int, Counter[str]] = {}
    for group, label in zip(groups.tolist(), rows["label"], strict=True):
        members.setdefault(group, Counter())[label] += 1
    left = dict(wanted)
    # How many more groups of each class have to be drawn: that many images are kept free for them.
    owed = {label: min(parts, count) for label, count in wanted.items()}
    drawn: set[int] = set()
    for group in sorted(members, key=lambda group: keys[group]):
        if all(left[label] - count >= max(0, owed[label] - 1) for label, count in members[group].items()):
            drawn.add(group)
            for label, count in members[group].items():
                left[label] -= count
                owed[label] -= 1
    for label in sorted(wanted):
        of_class = [group for group, inside in members.items() if label in inside]
        if len(of_class) > 1 and not drawn.intersection(of_class):
            drawn.add(min(of_class, key=lambda group: (sum(members[group].values()), keys[group])))
    return np.isin(groups, sorted(drawn))


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


def _refuse_unusable(table: pd.DataFrame, folds: int) -> None:
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
                remedy="add training images of it, or take its test images out",
            )
        if count < folds:
            grouped = f" in {_number(count, 'group')}" if count < images else ""
            raise DataError(
                f"class {label!r} has {_number(images, 'training image')}{grouped}, fewer than the {folds} folds",
                where="select.folds",
                remedy=f"add images of it, or set select.folds to {max(2, count)} or less"
                if count >= 2
                else "add images of it, or take the class out",
            )


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")
