"""The tables behind the figures: per class, confusion, most confused pairs, one row per image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from graft.evaluate.metrics import Outcomes

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.evaluate.heldout import HeldOut


@dataclass(frozen=True)
class ClassRow:
    """What is known of one class; a figure in [0, 1] is None where it cannot be computed, and ``reason`` says why."""

    name: str
    n_train: int
    n_test: int
    precision: float | None
    recall: float | None
    f1: float | None
    reason: str | None
    roc_auc: float | None = None
    average_precision: float | None = None


@dataclass(frozen=True)
class Confused:
    """``count`` test images of class ``true`` were named ``predicted``; ``share`` of that class's, in (0, 1]."""

    true: str
    predicted: str
    count: int
    share: float


def confusion(held_out: HeldOut, probabilities: NDArray[np.float64]) -> NDArray[np.intp]:
    """Counts (k, k): rows are true classes, columns predicted ones."""
    from sklearn.metrics import confusion_matrix

    predicted = probabilities.argmax(axis=1)
    return np.asarray(confusion_matrix(held_out.labels, predicted, labels=range(len(held_out.classes))), dtype=np.intp)


def per_class(held_out: HeldOut, counts: NDArray[np.intp]) -> tuple[ClassRow, ...]:
    """A row per class from the confusion counts (k, k), in the classes' order.

    precision = TP / predicted, recall = TP / true, F1 = 2 TP / (true + predicted).
    """
    return tuple(
        _row(name, int(n_train), int(counts[i, i]), int(counts[i].sum()), int(counts[:, i].sum()))
        for i, (name, n_train) in enumerate(zip(held_out.classes, held_out.n_train, strict=True))
    )


def with_ranking(
    rows: tuple[ClassRow, ...], labels: NDArray[np.intp], probabilities: NDArray[np.float64]
) -> tuple[ClassRow, ...]:
    """The same rows with ROC AUC and average precision of each class against the rest, where they can be computed."""
    outcomes = Outcomes(labels, probabilities)
    if len(np.unique(labels)) < 2:
        return rows
    areas = {
        label: (float(roc[0]), float(ap[0])) for label, roc, ap in zip(np.unique(labels), *outcomes.areas, strict=True)
    }
    found = [areas.get(column, (None, None)) for column in range(len(rows))]
    return tuple(replace(row, roc_auc=roc, average_precision=ap) for row, (roc, ap) in zip(rows, found, strict=True))


def _row(name: str, n_train: int, right: int, true: int, predicted: int) -> ClassRow:
    if true == 0:
        return ClassRow(name, n_train, 0, None, None, None, "no test images of this class")
    recall, f1 = right / true, 2 * right / (true + predicted)
    if predicted == 0:
        return ClassRow(name, n_train, true, None, recall, f1, "no image was given this name, so no precision")
    return ClassRow(name, n_train, true, right / predicted, recall, f1, None)


def most_confused(classes: tuple[str, ...], counts: NDArray[np.intp], most: int = 8) -> tuple[Confused, ...]:
    """The cells off the diagonal that hold most images, fullest first; ties by class order."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    cells = [divmod(int(place), len(classes)) for place in order]
    return tuple(
        Confused(classes[i], classes[j], int(wrong[i, j]), float(wrong[i, j] / counts[i].sum()))
        for i, j in cells
        if wrong[i, j] > 0
    )


def per_class_table(rows: tuple[ClassRow, ...]) -> pd.DataFrame:
    """class, n_train, n_test, precision, recall, f1, roc_auc, average_precision.

    An empty cell is a figure that cannot be computed.
    """
    import pandas as pd

    columns = ["n_train", "n_test", "precision", "recall", "f1", "roc_auc", "average_precision"]
    cells = [(row.name, *(getattr(row, column) for column in columns)) for row in rows]
    return pd.DataFrame(cells, columns=["class", *columns])


def confusion_table(classes: tuple[str, ...], counts: NDArray[np.intp]) -> pd.DataFrame:
    """A row per true class (its name in the column ``label``), a column per predicted one, image counts."""
    import pandas as pd

    table = pd.DataFrame(counts, columns=list(classes))
    table.insert(0, "label", list(classes), allow_duplicates=True)
    return table


def predictions_table(held_out: HeldOut, probabilities: NDArray[np.float64]) -> pd.DataFrame:
    """A row per test image: path, label, predicted, confidence, then ``p_<class>`` for each class."""
    import pandas as pd

    names = np.asarray(held_out.classes, dtype=object)
    head = pd.DataFrame(
        {
            "path": list(held_out.paths),
            "label": names[held_out.labels],
            "predicted": names[probabilities.argmax(axis=1)],
            "confidence": probabilities.max(axis=1),
        }
    )
    columns = [f"p_{name}" for name in held_out.classes]
    return pd.concat([head, pd.DataFrame(probabilities, columns=columns)], axis=1)
