"""Training images that may be labelled wrongly, by confident learning on out-of-fold probabilities.

Confident learning (Northcutt, Jiang and Chuang, JAIR 2021; the library cleanlab) estimates how many labels of each
class are really another's, and picks that many, the least believable ones. A suspicion is no proof: a person must look.
"""

from __future__ import annotations

import warnings
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.core.errors import DataError
from graft.selection.out_of_fold import LOGIT

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

COLUMNS = ("path", "label", "suggested", "label_confidence", "suggested_confidence")


@dataclass(frozen=True)
class LabelIssue:
    """A training image whose label is doubted: path, label, likeliest class, and the probability of each of them."""

    path: str
    given: str
    suggested: str
    given_confidence: float
    suggested_confidence: float


@dataclass(frozen=True)
class LabelIssues:
    """The suspects, least believable label first; how many images were judged; why none could be."""

    found: tuple[LabelIssue, ...] = ()
    judged: int = 0
    reason: str = ""


NOT_JUDGED = LabelIssues(reason="selection left no out-of-fold probabilities of the training images")


@dataclass(frozen=True)
class OutOfFoldProbabilities:
    """Probabilities of n training images by models that had not seen them.

    Attributes:
        paths: relative to data/raw, n of them.
        classes: k names, in the order of the columns.
        labels: int (n,), indices into ``classes``.
        probabilities: (n, k); every row sums to one.
    """

    paths: tuple[str, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.intp]
    probabilities: NDArray[np.float64]


def read_out_of_fold(path: Path, strategy: str) -> OutOfFoldProbabilities | None:
    """Read what selection wrote: columns ``path``, ``label``, ``strategy``, ``logit:<class>``; None where it is absent.

    Of each image the row by ``strategy`` counts, or where there is none that of the head alone.

    Raises:
        DataError: a column is missing, a label has no column, or a logit is not finite.
    """
    import pandas as pd
    from scipy.special import softmax

    if not path.exists():
        return None
    table = pd.read_parquet(path)
    columns = [str(name) for name in table.columns if str(name).startswith(LOGIT)]
    classes = tuple(name.removeprefix(LOGIT) for name in columns)
    wrong = None
    if not {"path", "label", "strategy"} <= set(table.columns) or not set(table["label"].astype(str)) <= set(classes):
        wrong = "it has no column path, label or strategy, or no logit for one of the labels"
    elif not np.isfinite(logits := table[columns].to_numpy(dtype=np.float64)).all():
        wrong = "a logit is not finite"
    if wrong is not None:
        raise DataError(
            f"the table of out-of-fold logits cannot be used: {wrong}",
            where=path,
            remedy="run the select stage again: `.venv/bin/dvc repro --force --single-item select`",
        )
    table = _one_row_each(table, strategy)
    logits = table[columns].to_numpy(dtype=np.float64)
    labels = np.array([classes.index(name) for name in table["label"].astype(str)], dtype=np.intp)
    return OutOfFoldProbabilities(tuple(table["path"].astype(str)), classes, labels, softmax(logits, axis=1))


def _one_row_each(table: pd.DataFrame, strategy: str) -> pd.DataFrame:
    """Of each image the row by ``strategy``, else that of the head alone, else any."""
    rank = table["strategy"].map({strategy: 0}).fillna(1 + (table["strategy"] != "extract"))
    return table.assign(rank=rank).sort_values(["path", "rank"], kind="stable").drop_duplicates("path")


def find_issues(known: OutOfFoldProbabilities | None) -> LabelIssues:
    """The training images whose label is probably wrong."""
    if known is None:
        return NOT_JUDGED
    if len(np.unique(known.labels)) < 2:
        return LabelIssues(reason="there are training images of one class only")
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():
        # Of a class with one image it keeps that one, whatever is said of it, and warns. That is right.
        warnings.filterwarnings("ignore", message="May not flag all label issues in class")
        # One process: ten thousand images take less than a second, and no child outlives a killed stage.
        rows = find_label_issues(
            known.labels, known.probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
        )
    likeliest = known.probabilities.argmax(axis=1)
    found = tuple(
        LabelIssue(
            path=known.paths[row],
            given=known.classes[known.labels[row]],
            suggested=known.classes[likeliest[row]],
            given_confidence=float(known.probabilities[row, known.labels[row]]),
            suggested_confidence=float(known.probabilities[row, likeliest[row]]),
        )
        for row in rows
        # Where both are the same there is nothing to suggest.
        if likeliest[row] != known.labels[row]
    )
    return LabelIssues(found, len(known.paths))


def label_issues_table(suspects: LabelIssues) -> pd.DataFrame:
    """A row per suspect, least believable label first; only the heading where there is none."""
    import pandas as pd

    return pd.DataFrame([astuple(item) for item in suspects.found], columns=list(COLUMNS))
