"""Everything that was found out about a model, as values; written as metrics.json and tables, shown by the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.evaluate.intervals import Resampling
from graft.evaluate.judgement import Judgement, figures, judge, reasons, tables, write_csv
from graft.evaluate.transfer import Comparison, compare, label_curve
from graft.files import write_json
from graft.predict import Answers
from graft.trust.card import Trust

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.evaluate.cost import Cost
    from graft.evaluate.heldout import HeldOut


@dataclass(frozen=True)
class Probabilities:
    """What the models said about the test images, each (n, k).

    Attributes:
        model: the fine-tuned model.
        trust: its card's part about how far that is to be trusted.
        novelty: how unlike the training images it finds each image, (n,); None where it cannot tell.
        scratch: the same network trained from scratch, or None.
        pairs: (transferred, from scratch) by labels per class.
        no_control: why ``scratch`` is None, where it is.
    """

    model: NDArray[np.float64]
    scratch: NDArray[np.float64] | None
    pairs: Mapping[int, tuple[NDArray[np.float64], NDArray[np.float64]]]
    no_control: str = "no control was trained"
    trust: Trust = field(default_factory=Trust)
    novelty: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Evaluation(Judgement):
    """The figures of the fine-tuned model, and what only the pipeline knows of it.

    Attributes:
        transfer: the fine-tuned model against its control.
        curve: the same at fewer labels, and at the full count last; empty without controls.
        cost: what a prediction costs.
        resampling: what the bootstrap drew.
    """

    transfer: Comparison
    curve: tuple[Comparison, ...]
    cost: Cost
    resampling: Resampling


def evaluate(held_out: HeldOut, said: Probabilities, cost: Cost, resampling: Resampling) -> Evaluation:
    """Compute every figure.

    Raises:
        DataError: probabilities that are none (see :func:`graft.evaluate.metrics.check_probabilities`).
    """
    labels = held_out.labels
    transfer = compare(labels, said.model, said.scratch, resampling, held_out.labels_per_class, said.no_control)
    curve = label_curve(labels, said.pairs, resampling)
    if curve and transfer.control is not None and transfer.labels_per_class is not None:
        curve = (*(point for point in curve if point.labels_per_class != transfer.labels_per_class), transfer)
    found = judge(held_out, Answers(said.model, said.novelty), said.trust, resampling)
    return Evaluation(**vars(found), transfer=transfer, curve=curve, cost=cost, resampling=resampling)


def metrics(found: Evaluation) -> dict[str, Any]:
    """What metrics.json holds: figures flat, the transfer verdict nested, null with a reason where there is none."""
    return figures(found) | {
        "n_test": len(found.held_out.labels),
        "n_train": int(found.held_out.n_train.sum()),
        "n_classes": len(found.held_out.classes),
        "transfer": found.transfer.to_json(),
        "label_curve": [point.to_json() for point in found.curve],
        "parameters": found.cost.parameters,
        "size_mb": found.cost.size_mb,
        "latency_ms": found.cost.latency_ms,
        "latency_p95_ms": found.cost.latency_p95_ms,
        "cost": found.cost.to_json(),
        "reasons": reasons(found),
    }


def write_tables(found: Evaluation, folder: Path) -> None:
    """Write metrics.json and the tables into ``folder``."""
    write_json(folder / "metrics.json", metrics(found))
    for name, table in {**tables(found), "label_curve.csv": curve_table(found.curve)}.items():
        write_csv(folder / name, table)


def curve_table(curve: tuple[Comparison, ...]) -> pd.DataFrame:
    """A row per count of labels: accuracy of both, the paired difference, each with its bounds, and the verdict."""
    import pandas as pd

    columns = ["labels_per_class"]
    columns += [f"{name}{end}" for name in ("transfer", "scratch", "difference") for end in ("", "_low", "_high")]
    rows = []
    for point in curve:
        if point.transferred is None or point.control is None or point.interval is None:
            continue
        first, second = point.transferred, point.control
        rows.append(
            [
                point.labels_per_class,
                *(first.accuracy, *first.interval.pair()),
                *(second.accuracy, *second.interval.pair()),
                *(point.difference, *point.interval.pair()),
                point.verdict,
            ]
        )
    return pd.DataFrame(rows, columns=[*columns, "verdict"])
