"""The evaluation of the delivered model: its figures, the verdict on transfer, the production model, the cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.calibration.fitted_trust import FittedTrust
from graft.core.files import write_csv, write_json
from graft.evaluation.compare.production import ProductionComparison
from graft.evaluation.compare.transfer import NOT_COMPARED, TransferComparison, label_curve
from graft.evaluation.model_metrics import (
    METRICS_FILE,
    ClassifierMetrics,
    ModelMetrics,
    compute_metrics,
    figures,
    reasons,
    tables,
)
from graft.inference.predictor import Predictions
from graft.stats.bootstrap import Resampling

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.evaluation.cost import PredictionCost
    from graft.evaluation.held_out import HeldOutSet


HEADLINE_FILE = "headline.json"


@dataclass(frozen=True)
class ModelOutputs:
    """What the delivered model said about the test images.

    Attributes:
        outputs: postprocessed, (n, k): probabilities, say.
        trust: the part of model.json about how far they are to be trusted.
        novelty: how unlike the training images it finds each image, (n,); None where it cannot tell.
    """

    outputs: NDArray[np.float64]
    trust: FittedTrust = field(default_factory=FittedTrust)
    novelty: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Evaluation(ModelMetrics):
    """The figures of the fine-tuned model, of any task.

    Attributes:
        cost: what a prediction costs.
        resampling: what the bootstrap drew.
    """

    cost: PredictionCost
    resampling: Resampling


@dataclass(frozen=True)
class ClassifierEvaluation(Evaluation, ClassifierMetrics):
    """The figures of the delivered classifier, and what only the pipeline knows of it.

    Attributes:
        production: it against the production model; None where there is no other.
        transfer: it against its control.
        curve: the same at fewer labels, and at the full count last; empty without controls.
    """

    production: ProductionComparison | None = None
    transfer: TransferComparison = NOT_COMPARED
    curve: tuple[TransferComparison, ...] = ()


def evaluate(
    held_out: HeldOutSet,
    said: ModelOutputs,
    cost: PredictionCost,
    resampling: Resampling,
    production: ProductionComparison | None = None,
    transfer: Sequence[TransferComparison] = (),
) -> Evaluation:
    """Compute every figure.

    Args:
        held_out: the test images.
        said: what the model said about them.
        cost: of a prediction.
        resampling: what the bootstrap draws.
        production: the comparison with the production model.
        transfer: the comparisons with controls, fewest labels first, that on all training images last.

    Returns:
        :class:`ClassifierEvaluation` where the task is one of classes.

    Raises:
        DataError: probabilities that are none (see :func:`graft.metrics.classification.check_probabilities`).
    """
    found = compute_metrics(held_out, Predictions(said.outputs, said.novelty), said.trust, resampling)
    if not isinstance(found, ClassifierMetrics):
        return Evaluation(**vars(found), cost=cost, resampling=resampling)
    return ClassifierEvaluation(
        **vars(found),
        cost=cost,
        resampling=resampling,
        production=production,
        transfer=transfer[-1] if transfer else NOT_COMPARED,
        curve=label_curve(transfer),
    )


def metrics(found: Evaluation) -> dict[str, Any]:
    """What metrics.json holds: figures flat, the transfer verdict nested, null with a reason where there is none."""
    costs = {
        "n_test": len(found.held_out.labels),
        "n_train": int(found.held_out.n_train.sum()),
        "n_classes": len(found.held_out.classes),
        "parameters": found.cost.parameters,
        "size_mb": found.cost.size_mb,
        "latency_ms": found.cost.latency_ms,
        "latency_p95_ms": found.cost.latency_p95_ms,
        "cost": found.cost.to_json(),
    }
    compared: dict[str, Any] = {}
    if isinstance(found, ClassifierEvaluation):
        compared["production"] = None if found.production is None else found.production.to_json()
        # Before there is a control nothing is said of transfer, not even that it is undecided.
        if found.transfer is not NOT_COMPARED:
            compared["transfer"] = found.transfer.to_json()
            compared["label_curve"] = [point.to_json() for point in found.curve]
    return figures(found) | costs | compared | {"reasons": reasons(found)}


def headline(found: Evaluation) -> dict[str, float | None]:
    """What DVC shows and compares (`dvc metrics`, `dvc exp show`): few figures, none of them in words."""
    names: Iterable[str] = found.scores
    gains: dict[str, float | None] = {}
    if isinstance(found, ClassifierEvaluation):
        names = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "roc_auc", "calibration_error")
        gains = {
            "gain_by_transfer": found.transfer.difference,
            "gain_over_majority": None if found.majority is None else found.majority.accuracy.difference,
        }
    cost = {"latency_ms": found.cost.latency_ms, "size_mb": found.cost.size_mb, "n_test": len(found.held_out.labels)}
    return {name: found.scores[name].value for name in names} | gains | cost


def write_tables(found: Evaluation, folder: Path) -> None:
    """Write metrics.json, headline.json and the tables into ``folder``."""
    write_json(folder / METRICS_FILE, metrics(found))
    write_json(folder / HEADLINE_FILE, headline(found))
    for name, table in tables(found).items():
        write_csv(folder / name, table)
    if isinstance(found, ClassifierEvaluation):
        write_csv(folder / "label_curve.csv", curve_table(found.curve))


def curve_table(curve: tuple[TransferComparison, ...]) -> pd.DataFrame:
    """A row per count of labels: accuracy of both, the paired difference, each with its bounds, and the verdict."""
    import pandas as pd

    columns = ["labels_per_class"]
    columns += [f"{name}{end}" for name in ("transfer", "scratch", "difference") for end in ("", "_low", "_high")]
    rows = [
        (
            point.labels_per_class,
            *(point.transferred.accuracy, *point.transferred.interval.pair()),
            *(point.control.accuracy, *point.control.interval.pair()),
            *(point.difference, *point.interval.pair()),
            point.verdict,
        )
        for point in curve
        if point.transferred is not None and point.control is not None and point.interval is not None
    ]
    return pd.DataFrame(rows, columns=[*columns, "verdict"])
