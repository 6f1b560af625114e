"""One model on labelled images: figures with intervals and the tables behind them, in a pipeline or without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.errors import DataError
from graft.evaluate.curves import pr_table, roc_table
from graft.evaluate.intervals import Interval, Resampling, strata_of
from graft.evaluate.majority import Majority, against_majority
from graft.evaluate.metrics import Score, headline_intervals, score_all
from graft.evaluate.tables import (
    ClassRow,
    confusion,
    confusion_table,
    per_class,
    per_class_table,
    predictions_table,
    with_ranking,
)
from graft.evaluate.trusted import Trusted, look_at, to_json
from graft.files import whole_folder, write_json, write_text
from graft.outputs import refuse_output
from graft.settings import Evaluate
from graft.trust.threshold import coverage_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from graft.evaluate.heldout import HeldOut
    from graft.evaluate.labelled import Asked, Labelled
    from graft.predict import Answers
    from graft.trust.card import Trust

METRICS_FILE = "metrics.json"
FILES = (
    METRICS_FILE,
    "per_class.csv",
    "confusion.csv",
    "predictions.csv",
    "roc.csv",
    "pr.csv",
    "coverage.csv",
    "unreadable.csv",
)


@dataclass(frozen=True)
class Judgement:
    """The figures of one model.

    Attributes:
        held_out: the images.
        probabilities: of the model, (n, k).
        scores: every metric by name.
        intervals: 95% intervals of the headline metrics by name.
        confusion: counts (k, k), rows true, columns predicted.
        classes: a row per class that the model knows.
        trusted: what its card says of how far its answers are to be trusted, and what came of it.
        majority: the model against always naming the most frequent class; None where nothing is tested.
    """

    held_out: HeldOut
    probabilities: NDArray[np.float64]
    scores: Mapping[str, Score]
    intervals: Mapping[str, Interval | None]
    confusion: NDArray[np.intp]
    classes: tuple[ClassRow, ...]
    trusted: Trusted
    majority: Majority | None


def resampling_of(held_out: HeldOut, samples: int = Evaluate().bootstrap_samples, seed: int = 0) -> Resampling:
    """What the bootstrap draws: whole groups, within their class; by default as often as where no params.yaml says."""
    return Resampling(held_out.units, samples, seed, strata_of(held_out.labels, held_out.units))


def judge(held_out: HeldOut, said: Answers, trust: Trust, resampling: Resampling) -> Judgement:
    """Compute every figure.

    Args:
        held_out: the images.
        said: what the model said of them.
        trust: the part of its card about how far that is to be trusted.
        resampling: what the bootstrap draws.

    Raises:
        DataError: probabilities that are none (see :func:`graft.evaluate.metrics.check_probabilities`).
    """
    probabilities = said.probabilities
    scores = score_all(held_out.labels, probabilities, held_out.paths)
    counts = confusion(held_out, probabilities)
    return Judgement(
        held_out=held_out,
        probabilities=probabilities,
        scores=scores,
        intervals=headline_intervals(held_out.labels, probabilities, resampling),
        confusion=counts,
        classes=with_ranking(per_class(held_out, counts), held_out.labels, probabilities),
        trusted=look_at(held_out.labels, said, trust, resampling),
        majority=against_majority(held_out, probabilities),
    )


def figures(found: Judgement) -> dict[str, Any]:
    """Every metric flat, as metrics.json has it, with ``<name>_ci95``; the others nested."""
    flat: dict[str, Any] = {}
    for name, score in found.scores.items():
        flat[name] = score.value
        if (interval := found.intervals.get(name)) is not None:
            flat[f"{name}_ci95"] = interval.pair()
    majority = None if found.majority is None else found.majority.to_json()
    return flat | {"majority": majority} | to_json(found.trusted)


def reasons(found: Judgement) -> dict[str, str]:
    """Why a metric is null, for those that are."""
    return {name: score.reason for name, score in found.scores.items() if score.reason}


def tables(found: Judgement) -> dict[str, pd.DataFrame]:
    """What the figures rest on, by file name."""
    held_out, probabilities = found.held_out, found.probabilities
    return {
        "per_class.csv": per_class_table(found.classes),
        "confusion.csv": confusion_table(held_out.classes, found.confusion),
        "predictions.csv": predictions_table(held_out, probabilities),
        "roc.csv": roc_table(held_out, probabilities),
        "pr.csv": pr_table(held_out, probabilities),
        "coverage.csv": coverage_table(probabilities, held_out.labels),
    }


def data_facts(labelled: Labelled, answers: Asked, seen: int | None) -> dict[str, Any]:
    """What was measured on, what was left alone or could not be read, as JSON."""
    return {
        "source": labelled.source,
        "side": "test" if labelled.divided else "all",
        "images": len(labelled.records),
        "left_for_training": labelled.unused,
        "seen_in_training": seen,
        "unreadable": [asdict(item) for item in answers.unreadable],
        "passed_over": [asdict(item) for item in labelled.skipped],
    }


def class_facts(found: Judgement) -> list[dict[str, Any]]:
    """A row per class as JSON; null with a reason where there is no figure."""
    rows = [asdict(row) for row in found.classes]
    unknown = {"name", "n_train"}
    return [{"class": row["name"], **{key: row[key] for key in row if key not in unknown}} for row in rows]


def write_judgement(folder: Path, summary: Mapping[str, Any], found: Judgement, answers: Asked) -> None:
    """Write ``summary`` as metrics.json, and the tables, into ``folder``, replacing an earlier evaluation.

    Raises:
        DataError: the folder holds something else, which would be lost.
    """
    check_free(folder)
    with whole_folder(folder) as beside:
        write_json(beside / METRICS_FILE, summary)
        for name, table in tables(found).items():
            # Nothing is known of the training images here, and a column of zeros would claim that there were none.
            write_csv(beside / name, table.drop(columns="n_train", errors="ignore"))
        write_unreadable(beside / "unreadable.csv", answers)


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


def write_unreadable(path: Path, answers: Asked) -> None:
    """A row per image that could not be decoded: path, why; only the heading where there is none."""
    import pandas as pd

    rows = [(item.path, item.why) for item in answers.unreadable]
    write_csv(path, pd.DataFrame(rows, columns=["path", "why"]))


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table whole, with the same bytes on every system."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
