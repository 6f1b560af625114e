"""The evaluation of the fine-tuned model: its figures, the verdict on transfer, the production model, the cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.calibration.fitted_trust import FittedTrust
from graft.core.files import write_csv, write_json
from graft.evaluation.compare.production import ProductionComparison, ProductionModel, compare_with_production
from graft.evaluation.compare.transfer import TransferComparison, agreed, compare_with_control, label_curve
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

    from graft.evaluation.compare.fold_pairs import FoldComparison
    from graft.evaluation.cost import PredictionCost
    from graft.evaluation.held_out import HeldOutSet


HEADLINE_FILE = "headline.json"


@dataclass(frozen=True)
class Probabilities:
    """What the models said about the test images, each (n, k); comparisons are of tasks with classes only.

    Attributes:
        model: the fine-tuned model.
        trust: the part of model.json about how far that is to be trusted.
        novelty: how unlike the training images it finds each image, (n,); None where it cannot tell.
        scratch: the same network trained from scratch, or None.
        pairs: (transferred, from scratch) by labels per class.
        no_control: why ``scratch`` is None, where it is.
        folds: transfer against scratch over folds and seeds, where that was asked for.
        similarity: how like the target the source is, as selection wrote it.
        budgets: what the controls had, by labels per class, and under None that of ``scratch``.
        production: the production model, where there is another.
        production_outputs: what that said; None where there is none, or it cannot be compared.
        metric: what it is compared by, besides accuracy.
    """

    model: NDArray[np.float64]
    scratch: NDArray[np.float64] | None
    pairs: Mapping[int, tuple[NDArray[np.float64], NDArray[np.float64]]]
    no_control: str = "no control was trained"
    folds: FoldComparison | None = None
    similarity: Mapping[str, Any] | None = None
    budgets: Mapping[int | None, Mapping[str, Any]] = field(default_factory=dict)
    trust: FittedTrust = field(default_factory=FittedTrust)
    novelty: NDArray[np.float64] | None = None
    production: ProductionModel | None = None
    production_outputs: NDArray[np.float64] | None = None
    metric: str = "accuracy"


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
    """The figures of the fine-tuned classifier, and what only the pipeline knows of it.

    Attributes:
        transfer: the fine-tuned model against its control.
        curve: the same at fewer labels, and at the full count last; empty without controls.
        control: the figures of the control, where that is better over the folds and so may be the model to package.
        production: the fine-tuned model against the production model; None where there is no other.
        control_against_production: the same of the control, where it may be packaged.
    """

    transfer: TransferComparison
    curve: tuple[TransferComparison, ...]
    control: ModelMetrics | None = None
    production: ProductionComparison | None = None
    control_against_production: ProductionComparison | None = None


def evaluate(held_out: HeldOutSet, said: Probabilities, cost: PredictionCost, resampling: Resampling) -> Evaluation:
    """Compute every figure.

    Returns:
        :class:`ClassifierEvaluation` where the task is one of classes.

    Raises:
        DataError: probabilities that are none (see :func:`graft.metrics.classification.check_probabilities`).
    """
    found = compute_metrics(held_out, Predictions(said.model, said.novelty), said.trust, resampling)
    if not isinstance(found, ClassifierMetrics):
        return Evaluation(**vars(found), cost=cost, resampling=resampling)
    labels = held_out.labels
    compared = compare_with_control(
        labels, said.model, said.scratch, resampling, held_out.labels_per_class, said.no_control
    )
    budget = None if said.scratch is None else said.budgets.get(None)
    transfer = dataclasses.replace(agreed(compared, said.folds), similarity=said.similarity, budget=budget)
    curve = tuple(
        dataclasses.replace(point, budget=said.budgets.get(point.labels_per_class))
        for point in label_curve(labels, said.pairs, resampling)
    )
    if curve and transfer.control is not None and transfer.labels_per_class is not None:
        curve = (*(point for point in curve if point.labels_per_class != transfer.labels_per_class), transfer)
    scratch = said.scratch if transfer.control_is_better else None

    def against_production(new: NDArray[np.float64] | None) -> ProductionComparison | None:
        if said.production is None or new is None:
            return None
        return compare_with_production(said.production, labels, new, said.production_outputs, resampling, said.metric)

    return ClassifierEvaluation(
        **vars(found),
        transfer=transfer,
        curve=curve,
        cost=cost,
        resampling=resampling,
        control=None
        if scratch is None
        else compute_metrics(held_out, Predictions(scratch, None), FittedTrust(), resampling),
        production=against_production(said.model),
        control_against_production=against_production(scratch),
    )


def metrics(found: Evaluation) -> dict[str, Any]:
    """What metrics.json holds: figures flat, the transfer verdict nested, null with a reason where there is none."""
    # The control is the same network, cut at the same block, so it costs the same.
    same = {
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
        compared = {
            "transfer": found.transfer.to_json(),
            "label_curve": [point.to_json() for point in found.curve],
            "production": _standing(found.production),
            "control": (
                None
                if found.control is None
                else figures(found.control) | same | {"production": _standing(found.control_against_production)}
            ),
        }
    return figures(found) | same | compared | {"reasons": reasons(found)}


def _standing(found: ProductionComparison | None) -> dict[str, Any] | None:
    return None if found is None else found.to_json()


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
