"""What a model must reach before it is packaged: the figures of the evaluation against ``package.gate``.

Floors and ceilings are absolute; ``max_drop`` holds the model against the one in use, by the paired test on the same
test images (:mod:`graft.evaluate.incumbent`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from graft.errors import GateError
from graft.files import whole_folder, write_json
from graft.settings import Gate

Take = Literal["better", "transferred"]
Taken = Literal["transferred", "control"]


@dataclass(frozen=True)
class Check:
    """One condition of the gate and what came of it.

    Attributes:
        condition: the key under ``package.gate``.
        limit: what was asked for.
        figure: what was measured; None where the evaluation does not say.
        passed: whether the figure is good enough.
        reason: why not, in words; empty where it passed.
    """

    condition: str
    limit: float | bool
    figure: float | str | None
    passed: bool
    reason: str = ""


# condition -> (key of metrics.json, what people call it, unit, decimals). `min_` is a floor, `max_` a ceiling.
_FIGURES = {
    "min_accuracy": ("accuracy", "accuracy", "", 4),
    "min_balanced_accuracy": ("balanced_accuracy", "balanced accuracy", "", 4),
    "min_macro_f1": ("macro_f1", "macro F1", "", 4),
    "min_roc_auc": ("roc_auc", "ROC AUC", "", 4),
    "max_log_loss": ("log_loss", "log loss", "", 4),
    "max_latency_ms": ("latency_ms", "latency", " ms", 1),
    "max_size_mb": ("size_mb", "size", " MB", 1),
}


def read_metrics(path: Path) -> dict[str, Any]:
    """The figures of the evaluation.

    Raises:
        GateError: the file is missing or is not a JSON object, so that nothing can be said of the model.
    """
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GateError(
            "the model was not evaluated, so it cannot be packaged", where=path, remedy="run `.venv/bin/dvc repro`"
        ) from None
    except ValueError as error:
        raise GateError(
            f"the evaluation's figures cannot be read: {error}",
            where=path,
            remedy="run `.venv/bin/dvc repro --force evaluate`",
        ) from None
    if not isinstance(metrics, dict):
        raise GateError(
            "the evaluation's figures are not a JSON object",
            where=path,
            remedy="run `.venv/bin/dvc repro --force evaluate`",
        )
    return metrics


def choose(take: Take, metrics: dict[str, Any], where: Path) -> tuple[Taken, dict[str, Any]]:
    """Which model is to be packaged, and the figures that the gate is held against: its own.

    The control is taken where it is shown to be better over the folds of the training images
    (:mod:`graft.evaluate.repeated`), unless ``take`` says otherwise. The verdict of the test images has no say: figures
    by which a model was chosen are not those of unseen images any more.

    Args:
        take: the value of ``package.take``.
        metrics: the evaluation's figures.
        where: the file that they come from, for the message.

    Raises:
        GateError: the control is to be taken, and its figures are not there.
    """
    transfer = metrics.get("transfer")
    folds = transfer.get("folds") if isinstance(transfer, dict) else None
    if take == "transferred" or not isinstance(folds, dict) or folds.get("better") != "control":
        return "transferred", metrics
    control = metrics.get("control")
    if not isinstance(control, dict):
        raise GateError(
            "the control is better over the folds, so it is to be packaged, but its figures are not there",
            where=where,
            remedy="run `.venv/bin/dvc repro --force evaluate`, or set package.take to transferred",
        )
    return "control", {**control, "transfer": transfer}


def check_gate(gate: Gate, metrics: dict[str, Any], in_use: str | None = None) -> tuple[Check, ...]:
    """Check every condition that is switched on.

    Args:
        gate: the conditions.
        metrics: the evaluation's figures.
        in_use: version of the model in use, where it is another than the one to be packaged.
    """
    checks = []
    for condition, (key, name, unit, decimals) in _FIGURES.items():
        limit = getattr(gate, condition)
        if limit is not None:
            checks.append(_check_figure(condition, limit, metrics.get(key), name, unit, decimals))
    if gate.beat_majority:
        checks.append(_check_majority(metrics.get("majority")))
    if gate.max_drop is not None and in_use is not None:
        checks.append(_check_drop(gate.max_drop, metrics.get("incumbent"), in_use))
    if gate.refuse_if_transfer_hurts:
        checks.append(_check_transfer(metrics.get("transfer")))
    return tuple(checks)


def refusal(checks: Sequence[Check]) -> str:
    """Which conditions failed, and by how much; empty where all passed."""
    failed = [check.reason for check in checks if not check.passed]
    return "the gate refuses this model: " + "; ".join(failed) if failed else ""


def write_verdict(checks: Sequence[Check], version: str, folder: Path) -> None:
    """Write the gate's verdict whole: gate.json with every condition, and metrics.json with what DVC compares."""
    values = {
        "passed": not refusal(checks),
        "model": version,
        "refusal": refusal(checks),
        "conditions": [dataclasses.asdict(check) for check in checks],
    }
    with whole_folder(folder) as beside:
        write_json(beside / "gate.json", values)
        write_json(beside / "metrics.json", {"gate_passed": values["passed"]})


def _check_figure(condition: str, limit: float, figure: Any, name: str, unit: str, decimals: int) -> Check:
    if isinstance(figure, bool) or not isinstance(figure, int | float):
        return Check(
            condition, limit, None, False, f"{name} was not measured, and package.gate.{condition} asks for it"
        )
    is_floor = condition.startswith("min_")
    short_by = limit - figure if is_floor else figure - limit
    # Written so that a figure that is not a number fails.
    if short_by <= 0:
        return Check(condition, limit, figure, True)
    # A miss smaller than the usual decimals must not read as "0.8000 is under 0.8000".
    while round(short_by, decimals) == 0 and decimals < 12:
        decimals += 1
    side = "under" if is_floor else "over"
    reason = (
        f"{name} is {figure:.{decimals}f}{unit}, {short_by:.{decimals}f}{unit} {side} "
        f"package.gate.{condition} = {limit:.{decimals}f}{unit}"
    )
    return Check(condition, limit, figure, False, reason)


def _check_majority(found: Any) -> Check:
    """Refuse what is no better than always naming the most frequent class (:mod:`graft.evaluate.majority`)."""
    condition = "beat_majority"
    standing = found.get("standing") if isinstance(found, dict) else None
    if standing is None:
        reason = (
            f"it was not compared with always naming the most frequent class, and package.gate.{condition} asks for "
            "that: run `.venv/bin/dvc repro --force --single-item evaluate`, then `.venv/bin/dvc repro`"
        )
        return Check(condition, True, None, False, reason)
    if standing != "no better":
        return Check(condition, True, standing, True)
    reason = (
        f"it is no better than always answering {found['class']!r}, which is right on {found['accuracy']:.4f} of the "
        "test "
        f"images (accuracy {found['difference']:+.4f}, balanced accuracy {found['balanced_difference']:+.4f}), and "
        f"package.gate.{condition} is true"
    )
    return Check(condition, True, standing, False, reason)


def _check_drop(limit: float, found: Any, in_use: str) -> Check:
    """Refuse what is shown to be worse than the model in use by more than ``limit``.

    The whole interval of the paired difference (:func:`graft.evaluate.paired.compare_pair`) then lies beyond it.
    """
    condition = "max_drop"
    if not isinstance(found, dict) or found.get("version") != in_use:
        reason = (
            f"it was not compared with the model in use ({in_use}), and package.gate.{condition} asks for that: run "
            "`.venv/bin/dvc repro --force --single-item evaluate`, then `.venv/bin/dvc repro`"
        )
        return Check(condition, limit, None, False, reason)
    if "gain" in found:
        return _check_gain(limit, found, in_use)
    difference, interval = found.get("difference"), found.get("difference_ci95")
    if difference is None or interval is None:
        # Such as other classes: there is nothing to hold it against, and promoting it is left to people.
        return Check(condition, limit, None, True)
    if interval[1] >= -limit:
        return Check(condition, limit, difference, True)
    reason = (
        f"accuracy is {-difference:.4f} under that of the model in use ({in_use}, {found['accuracy']:.4f}) on the same "
        f"test images (95%: {-interval[1]:.4f} to {-interval[0]:.4f}, McNemar's p = {found['p_value']:.2g}), and "
        f"package.gate.{condition} = {limit:.4f}"
    )
    return Check(condition, limit, difference, False, reason)


def _check_gain(limit: float, found: dict[str, Any], in_use: str) -> Check:
    """The same by the `metric` of params.yaml where that is not accuracy; of a loss it is a rise that is refused."""
    gain, interval = found["gain"], found["gain_ci95"]
    if gain is None or interval is None or interval[1] >= -limit:
        return Check("max_drop", limit, gain, True)
    reason = (
        f"{found['metric']} is worse by {-gain:.4f} than that of the model in use ({in_use}) on the same test images "
        f"(95%: {-interval[1]:.4f} to {-interval[0]:.4f}), and package.gate.max_drop = {limit:.4f}"
    )
    return Check("max_drop", limit, gain, False, reason)


def _check_transfer(transfer: Any) -> Check:
    condition = "refuse_if_transfer_hurts"
    verdict = transfer.get("verdict") if isinstance(transfer, dict) else None
    if verdict is None:
        reason = f"transfer has no verdict, and package.gate.{condition} asks for one: set train.control to true"
        return Check(condition, True, None, False, reason)
    if verdict == "hurts":
        reason = f"transfer hurts (the control from scratch is better), and package.gate.{condition} is true"
        return Check(condition, True, verdict, False, reason)
    return Check(condition, True, str(verdict), True)
