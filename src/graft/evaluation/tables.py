"""The tables behind the figures: per class, confusion, most confused pairs, one row per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.metrics.outcomes import Outcomes, class_areas

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.evaluation.held_out import HeldOutSet


@dataclass(frozen=True)
class ClassRow:
    """Figures of one class; one in [0, 1] is None where it is undefined, and ``reason`` says why."""

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


def confusion(held_out: HeldOutSet, probabilities: NDArray[np.float64]) -> NDArray[np.intp]:
    """Counts (k, k): rows are true classes, columns predicted ones."""
    counts = np.zeros((len(held_out.classes), len(held_out.classes)), dtype=np.intp)
    np.add.at(counts, (held_out.labels, probabilities.argmax(axis=1)), 1)
    return counts


def per_class(held_out: HeldOutSet, probabilities: NDArray[np.float64]) -> tuple[ClassRow, ...]:
    """A row per class, in the classes' order; ROC AUC and average precision are those against the rest.

    precision = TP / predicted, recall = TP / true, F1 = 2 TP / (true + predicted).
    """
    outcomes = Outcomes(held_out.labels, probabilities)
    several = len(np.unique(held_out.labels)) > 1
    rows = []
    for label, (name, n_train) in enumerate(zip(held_out.classes, held_out.n_train.tolist(), strict=True)):
        right, true, named = (int(counts[label, 0]) for counts in (outcomes.correct, outcomes.true, outcomes.named))
        if true == 0:
            rows.append(ClassRow(name, n_train, 0, None, None, None, "no test images of this class"))
            continue
        precision, reason = (right / named, None) if named else (None, "no image was given this name, so no precision")
        areas = (float(area[0]) for area in class_areas(outcomes, label)) if several else (None, None)
        rows.append(ClassRow(name, n_train, true, precision, right / true, 2 * right / (true + named), reason, *areas))
    return tuple(rows)


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
    """class, n_train, n_test, precision, recall, f1, roc_auc, average_precision; an empty cell is undefined."""
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


def predictions_table(held_out: HeldOutSet, probabilities: NDArray[np.float64]) -> pd.DataFrame:
    """A row per test image: path, label, predicted, confidence, then ``p_<class>`` for each class."""
    import pandas as pd

    names = np.asarray(held_out.classes, dtype=object)
    columns = {
        "path": list(held_out.paths),
        "label": names[held_out.labels],
        "predicted": names[probabilities.argmax(axis=1)],
        "confidence": probabilities.max(axis=1),
    }
    each = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in held_out.classes])
    return pd.concat([pd.DataFrame(columns), each], axis=1)


def outputs_table(held_out: HeldOutSet, outputs: NDArray[np.float64]) -> pd.DataFrame:
    """A row per test image of a task without classes: path, label, then a column for each output."""
    import pandas as pd

    known = pd.DataFrame({"path": list(held_out.paths), "label": held_out.labels})
    return pd.concat([known, pd.DataFrame(outputs, columns=list(held_out.task.outputs(held_out.classes)))], axis=1)
