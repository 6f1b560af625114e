"""The test images: which they are, their labels, and which hang together; read from the table of splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.errors import DataError, WeightsError
from graft.stats.groups import units_of
from graft.tasks.base import Task
from graft.tasks.registry import CLASSIFICATION

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

COLUMNS = ("path", "label", "split", "fold", "group")


@dataclass(frozen=True)
class HeldOutSet:
    """The test images and the counts that go with them.

    Attributes:
        classes: class names in the order of the model's probabilities; k of them, none where the task has none.
        paths: paths of the test images, relative to data/raw; n of them.
        labels: as the task encodes them, (n,): indices into ``classes``, say.
        units: int (n,), in 0..u-1: images of one group (near duplicates, one patient) have the same number.
        n_train: training images of each class, (k,); of all together where there are no classes, (1,).
        straddling: groups that have images on both sides, which must be none: a test image is then not unseen.
        task: what is said of the images.
    """

    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: NDArray[Any]
    units: NDArray[np.intp]
    n_train: NDArray[np.intp]
    straddling: int = 0
    task: Task = CLASSIFICATION

    @property
    def n_test(self) -> NDArray[np.intp]:
        """Test images of each class, (k,)."""
        return np.bincount(self.labels, minlength=len(self.classes))

    @property
    def labels_per_class(self) -> int | None:
        """Training images per class, where it is the same for all."""
        counts = set(self.n_train.tolist())
        return int(counts.pop()) if len(counts) == 1 else None


def read_held_out(splits: Path, classes: Sequence[str], task: Task) -> HeldOutSet:
    """Read the test rows of ``splits`` for a model of ``task`` that knows ``classes``.

    Raises:
        DataError: there is no table, it lacks a column, or it has no test images.
        WeightsError: the model's classes are not those of the table.
    """
    table = _read(splits)
    labels = table["label"].astype(str)
    check_classes(classes, task.classes(labels), "the fine-tuned model")
    is_test, is_train = table["split"] == "test", table["split"] == "train"
    test, train = table[is_test], table[is_train]
    if test.empty:
        raise DataError(
            "the test split is empty, so nothing can be said about unseen images",
            where=splits,
            remedy="raise data.test_fraction or lower data.train_per_class in params.yaml, and run again",
        )
    targets = task.encode(labels, classes)
    n_train = np.bincount(targets[is_train], minlength=len(classes)) if task.categorical else np.array([len(train)])
    return HeldOutSet(
        classes=tuple(classes),
        paths=tuple(test["path"].astype(str)),
        labels=targets[is_test],
        units=units_of(test["group"]),
        n_train=n_train,
        straddling=len(set(train["group"].dropna()) & set(test["group"].dropna())),
        task=task,
    )


def check_classes(known: Sequence[str], wanted: Sequence[str], whose: str) -> None:
    """Raise WeightsError, naming the classes, unless a model knows exactly the ``wanted`` ones, in any order."""
    missing, extra = sorted(set(wanted) - set(known)), sorted(set(known) - set(wanted))
    parts = [f"it does not know {listed(missing)}"] if missing else []
    parts += [f"it knows {listed(extra)}, which the data has not"] if extra else []
    if parts:
        raise WeightsError(
            f"{whose} was made for other classes: {'; '.join(parts)}",
            remedy="run `.venv/bin/dvc repro`, so that the model is trained on this data",
        )


def _read(splits: Path) -> pd.DataFrame:
    import pandas as pd

    if not splits.exists():
        remedy = "run the split stage: `.venv/bin/dvc repro`"
        raise DataError("there is no table of splits", where=splits, remedy=remedy)
    table = pd.read_parquet(splits)
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise DataError(
            f"the table of splits lacks {listed(missing)}", where=splits, remedy="run the split stage again"
        )
    return table


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first ``most`` names, quoted, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
