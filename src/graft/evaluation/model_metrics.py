"""One model on labelled images: metrics with intervals, and the tables behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.calibration.abstention import coverage_table
from graft.core.errors import DataError
from graft.core.files import atomic_dir, write_csv, write_json
from graft.data.protected_paths import refuse_output
from graft.evaluation.calibration_check import CalibrationCheck, check_calibration, to_json
from graft.evaluation.compare.majority import Majority, against_majority
from graft.evaluation.curves import pr_table, roc_table
from graft.evaluation.tables import (
    ClassRow,
    confusion,
    confusion_table,
    outputs_table,
    per_class,
    per_class_table,
    predictions_table,
)
from graft.metrics.classification import check_probabilities
from graft.metrics.table import Score
from graft.stats.bootstrap import Interval, Resampling, strata_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from graft.calibration.fitted_trust import FittedTrust
    from graft.evaluation.external_data import ExternalPredictions
    from graft.evaluation.held_out import HeldOutSet
    from graft.inference.predictor import Predictions

METRICS_FILE = "metrics.json"
SAMPLES = 1000  # resamples of the bootstrap


@dataclass(frozen=True)
class ModelMetrics:
    """The figures of one model, of any task.

    Attributes:
        held_out: the images.
        outputs: of the model, postprocessed, (n, k): probabilities, say.
        scores: every metric by name.
        intervals: 95% intervals of the metrics by name.
    """

    held_out: HeldOutSet
    outputs: NDArray[np.float64]
    scores: Mapping[str, Score]
    intervals: Mapping[str, Interval | None]


@dataclass(frozen=True)
class ClassifierMetrics(ModelMetrics):
    """The figures of a classifier.

    Attributes:
        confusion: counts (k, k), rows true, columns predicted.
        classes: a row per class that the model knows.
        trusted: calibration, abstention and novelty.
        majority: the model against always naming the most frequent class; None where nothing is tested.
    """

    confusion: NDArray[np.intp]
    classes: tuple[ClassRow, ...]
    trusted: CalibrationCheck
    majority: Majority | None


def resampling_of(held_out: HeldOutSet, seed: int = 0) -> Resampling:
    """What the bootstrap draws: whole groups, within their class where there are classes."""
    strata = strata_of(held_out.labels, held_out.units) if held_out.task.categorical else None
    return Resampling(held_out.units, SAMPLES, seed, strata)


def compute_metrics(
    held_out: HeldOutSet, said: Predictions, trust: FittedTrust, resampling: Resampling
) -> ModelMetrics:
    """Compute every figure of a model's predictions; ``trust`` is the part of model.json about their calibration.

    Returns:
        :class:`ClassifierMetrics` where the task is one of classes.

    Raises:
        DataError: probabilities that are none (see :func:`graft.metrics.classification.check_probabilities`).
    """
    task, labels, outputs = held_out.task, held_out.labels, said.outputs
    if task.categorical:
        check_probabilities(labels, outputs, held_out.paths)
    found = ModelMetrics(
        held_out=held_out,
        outputs=outputs,
        scores=task.metrics.scores(labels, outputs),
        intervals=task.metrics.intervals(labels, outputs, resampling),
    )
    if not task.categorical:
        return found
    return ClassifierMetrics(
        **vars(found),
        confusion=confusion(held_out, outputs),
        classes=per_class(held_out, outputs),
        trusted=check_calibration(labels, said, trust, resampling),
        majority=against_majority(held_out, outputs),
    )


def figures(found: ModelMetrics) -> dict[str, Any]:
    """Every metric flat, as metrics.json has it, with ``<name>_ci95``; the others nested."""
    flat: dict[str, Any] = {}
    for name, score in found.scores.items():
        flat[name] = score.value
        if (interval := found.intervals.get(name)) is not None:
            flat[f"{name}_ci95"] = interval.pair()
    if not isinstance(found, ClassifierMetrics):
        return flat
    majority = None if found.majority is None else found.majority.to_json()
    return flat | {"majority": majority} | to_json(found.trusted)


def reasons(found: ModelMetrics) -> dict[str, str]:
    """Why a metric is null, for those that are."""
    return {name: score.reason for name, score in found.scores.items() if score.reason}


def tables(found: ModelMetrics) -> dict[str, pd.DataFrame]:
    """What the figures rest on, by file name."""
    held_out, probabilities = found.held_out, found.outputs
    if not isinstance(found, ClassifierMetrics):
        return {"predictions.csv": outputs_table(held_out, probabilities)}
    return {
        "per_class.csv": per_class_table(found.classes),
        "confusion.csv": confusion_table(held_out.classes, found.confusion),
        "predictions.csv": predictions_table(held_out, probabilities),
        "roc.csv": roc_table(held_out, probabilities),
        "pr.csv": pr_table(held_out, probabilities),
        "coverage.csv": coverage_table(probabilities, held_out.labels),
    }


def class_facts(found: ClassifierMetrics) -> list[dict[str, Any]]:
    """A row per class as JSON; null with a reason where there is no figure."""
    rows = [asdict(row) for row in found.classes]
    return [{"class": row.pop("name"), **{key: row[key] for key in row if key != "n_train"}} for row in rows]


def write_model_metrics(
    folder: Path, summary: Mapping[str, Any], found: ModelMetrics, answers: ExternalPredictions
) -> None:
    """Write ``summary`` as metrics.json, and the tables, into ``folder``, replacing an earlier evaluation.

    Raises:
        DataError: the folder holds something else, which would be lost.
    """
    import pandas as pd

    check_free(folder)
    unreadable = pd.DataFrame([(item.path, item.why) for item in answers.unreadable], columns=["path", "why"])
    with atomic_dir(folder) as beside:
        write_json(beside / METRICS_FILE, summary)
        for name, table in (tables(found) | {"unreadable.csv": unreadable}).items():
            # Nothing is known of the training images here, and a column of zeros would claim that there were none.
            write_csv(beside / name, table.drop(columns="n_train", errors="ignore"))


FILES = {
    METRICS_FILE,
    "per_class.csv",
    "confusion.csv",
    "predictions.csv",
    "roc.csv",
    "pr.csv",
    "coverage.csv",
    "unreadable.csv",
}


def check_free(folder: Path) -> None:
    """Raise DataError unless ``folder`` is absent, empty, or holds an earlier ``graft evaluate`` and nothing else."""
    refuse_output(folder, Path.cwd())
    if folder.is_file():
        raise DataError("this is a file, not a folder", where=folder, remedy="name a new folder with --out")
    others = sorted(item.name for item in folder.iterdir() if item.name not in FILES) if folder.is_dir() else []
    if others:
        raise DataError(
            f"the folder holds {others[0]!r}, which an evaluation did not write and would replace",
            where=folder,
            remedy="name a new or an empty folder with --out",
        )
