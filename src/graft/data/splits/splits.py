"""Train or test, and which fold: seeded, stratified by class, and never with a group on two sides.

* Files that cannot be decoded, or that validation put into quarantine, are left out.
* Data that comes divided is used as it is; where a group lies on both sides, its *train* rows are left out.
* Else ``train_per_class = n`` keeps n samples of every class for training, or ``test_fraction = f`` takes a share f of
  every class for the test, as ``data.split`` says: ``stratified`` (:mod:`graft.data.splits.stratified`) or ``hash``
  (:mod:`graft.data.splits.hash_split`).
* The training samples are dealt into folds by StratifiedGroupKFold, anew whenever they change: every fold holds every
  class, and no group lies in two.

A group is what must stay together: copies, near copies and equal values of the user's ``group``, joined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from graft.core.determinism import derive_seed
from graft.core.errors import DataError
from graft.data.manifest import usable, with_keys, with_strata
from graft.data.sources.listing import counted
from graft.data.splits.groups import group_rows, refuse_conflicts
from graft.data.splits.hash_split import TestSplit, hash_split
from graft.data.splits.history import SplitHistory
from graft.data.splits.stratified import stratified_split
from graft.modalities.registry import find_modality
from graft.tasks.registry import find_task

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.core.settings import Params

COLUMNS = ("path", "label", "split", "fold", "group")
_ATTEMPTS = 20


@dataclass(frozen=True)
class DataSplit:
    """A manifest divided.

    Attributes:
        table: a row per sample that is used, sorted by path: path, label, split (``train`` or ``test``), fold (0 to
            k-1 for train, -1 for test) and group (a whole number).
        pulled_in_by_group: of each class the samples that are tested only for a test sample in their group.
        borrowed: paths, by class, that are tested because no other of their class is, and that may go back to training
            when samples are added; empty where the split is stratified.
        history: what was ever tested or trained on, this split included; None where nothing is remembered.
    """

    table: pd.DataFrame
    pulled_in_by_group: Mapping[str, int]
    borrowed: Mapping[str, tuple[str, ...]]
    history: SplitHistory | None = None


def divide(manifest: pd.DataFrame, params: Params, history: SplitHistory | None = None) -> DataSplit:
    """Divide the images of a manifest; ``history`` is what earlier divisions tested and trained on.

    Raises:
        DataError: the rules cannot be kept; the message names the class and its count, or the near copies that would
            have to be none.
    """
    labelled = with_keys(usable(manifest), find_modality(params.data.modality)).sort_values("path", ignore_index=True)
    rows = with_strata(labelled, find_task(params.data.task))
    refuse_conflicts(rows)
    _refuse_one_class(rows)
    distance = params.validation.near_duplicate_distance
    groups = group_rows(rows, distance)
    try:
        found = _divide(rows, groups, params, history)
    except DataError as error:
        # A camera that does not move makes near copies of unlike images; equal hashes are copies still.
        alone = group_rows(rows, 0)
        alike = _sizes(groups) > _sizes(alone)
        shares = rows.assign(alike=alike).groupby("label")["alike"].mean()
        if (shares <= 0.5).all() or not _divides(rows, alone, params, history):
            raise
        raise DataError(
            f"{error.what}: {int(alike.sum())} of all {len(rows)} count as near copies, which stay together. Near"
            " copies that are most of a set are the scene, not copies",
            where="validation.near_duplicate_distance",
            remedy=(
                f"where a camera shows one scene, set it to 0, or to a value below {distance} that tells its images"
                " apart; frames that follow one another should then name their clip or day in a table's column `group`."
                " Where they are copies, add other images"
            ),
        ) from None
    labels = labelled.set_index("path")["label"]
    return replace(found, table=found.table.assign(label=labels.loc[found.table["path"]].to_numpy()))


def _sizes(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each image the number of images in its group."""
    return np.bincount(groups)[groups]


def _divides(rows: pd.DataFrame, groups: NDArray[np.int64], params: Params, history: SplitHistory | None) -> bool:
    """Could the rows be divided by these groups?"""
    try:
        _divide(rows, groups, params, history)
    except DataError:
        return False
    return True


def _divide(rows: pd.DataFrame, groups: NDArray[np.int64], params: Params, history: SplitHistory | None) -> DataSplit:
    """Divide usable rows, sorted by path, by their groups."""
    remembers = params.data.split == "stratified" and not rows["split"].notna().any()
    chosen = _choose_test(rows, groups, params, history)
    pulled_in = _count(rows["label"][chosen.pulled_in_by_group])
    table = rows[["path", "label"]].assign(
        split=np.where(chosen.tested, "test", "train"), fold=np.int64(-1), group=groups
    )
    # Only a given split can part a group; the others take groups whole.
    parted = ~chosen.tested & np.isin(groups, groups[chosen.tested])
    if remembers:
        history = (history or SplitHistory({})).with_split(rows["fingerprint"], chosen.tested, ~chosen.tested, params)
    table = table[~parted].reset_index(drop=True)
    _refuse_unusable(table, params.select.folds, pulled_in)
    table.loc[table["split"] == "train", "fold"] = _folds(table[table["split"] == "train"], params)
    borrowed = {label: tuple(rows["path"][groups == group]) for label, group in chosen.borrowed.items()}
    table = table[list(COLUMNS)].astype({"split": "str"})
    return DataSplit(table, pulled_in, borrowed, history if remembers else None)


def _choose_test(
    rows: pd.DataFrame, groups: NDArray[np.int64], params: Params, history: SplitHistory | None
) -> TestSplit:
    if rows["split"].notna().any():
        return TestSplit((rows["split"] == "test").to_numpy(dtype=bool), np.zeros(len(rows), dtype=bool), {})
    number = params.data.train_per_class
    for label, count in _count(rows["label"]).items():
        if number is not None and count <= number:
            raise DataError(
                f"class {label!r} has {count} images, so {number} for training leave none to test",
                where="data.train_per_class",
                remedy=f"set it to {max(1, count - 1)} or less, add images, or set it to null",
            )
    if params.data.split == "hash":
        return hash_split(rows, groups, params)
    return stratified_split(rows, groups, params, history)


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


def _refuse_unusable(table: pd.DataFrame, folds: int, pulled_in: Mapping[str, int]) -> None:
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
                remedy="add training images of it, or take its test images out" + _near_copies_advice(pulled_in, label),
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
                + _near_copies_advice(pulled_in, label),
            )


def _near_copies_advice(pulled_in: Mapping[str, int], label: str) -> str:
    """What to do where near copies have taken a class's images to the test."""
    if label not in pulled_in:
        return ""
    return (
        f"; {counted(pulled_in[label], 'image')} of it must be tested for looking like test images: where they are"
        " frames of films or parts of one thing, name it for each image in a table's column `group`"
    )
