"""The gate: conditions on the evaluation's metrics (``package.gate``) that a model must meet to be packaged."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.core.errors import GateError
from graft.core.files import atomic_dir, write_json
from graft.core.settings import Gate

Metrics = Mapping[str, Any]

# condition -> (key of metrics.json, name for people, unit, decimals). `min_` is a floor, `max_` a ceiling.
_LIMITS = {
    "min_accuracy": ("accuracy", "accuracy", "", 4),
    "min_balanced_accuracy": ("balanced_accuracy", "balanced accuracy", "", 4),
    "min_macro_f1": ("macro_f1", "macro F1", "", 4),
    "min_roc_auc": ("roc_auc", "ROC AUC", "", 4),
    "max_log_loss": ("log_loss", "log loss", "", 4),
    "max_latency_ms": ("latency_ms", "latency", " ms", 1),
    "max_size_mb": ("size_mb", "size", " MB", 1),
}
_AGAIN = "run `.venv/bin/dvc repro --force --single-item score`, then `.venv/bin/dvc repro`"


@dataclass(frozen=True)
class GateResult:
    """The result of one condition.

    Attributes:
        condition: the key under ``package.gate``.
        limit: its value.
        figure: what was measured; None where the evaluation does not say.
        passed: whether the condition is met.
        reason: why not, in words; empty where it passed.
    """

    condition: str
    limit: float | bool
    figure: float | str | None
    passed: bool
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """As package.json has it, without the reason."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "reason"}


def read_metrics(path: Path) -> dict[str, Any]:
    """Read the evaluation's metrics.json.

    Raises:
        GateError: the file is missing, or is not a JSON object.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise GateError("the model was not evaluated yet", where=path, remedy="run `.venv/bin/dvc repro`") from None
    except (TypeError, ValueError) as error:
        again = "run `.venv/bin/dvc repro --force score`"
        raise GateError(f"the evaluation's figures cannot be read: {error}", where=path, remedy=again) from None


def check_gate(gate: Gate, metrics: Metrics, version: str | None = None) -> tuple[GateResult, ...]:
    """Check every condition that is not null or false.

    Args:
        gate: the conditions.
        metrics: the model's metrics.
        version: version of the production model, where it is another model.
    """
    limits = [(condition, getattr(gate, condition)) for condition in _LIMITS]
    results = [_check_limit(condition, limit, metrics) for condition, limit in limits if limit is not None]
    if gate.beat_majority:
        results.append(_check_majority(metrics.get("majority")))
    if gate.max_drop is not None and version is not None:
        results.append(_check_drop(gate.max_drop, metrics.get("production"), version))
    return tuple(results)


def refusal(results: Sequence[GateResult]) -> str:
    """Which conditions failed, and by how much; empty where all passed."""
    failed = [result.reason for result in results if not result.passed]
    return "the gate refuses this model: " + "; ".join(failed) if failed else ""


def write_verdict(results: Sequence[GateResult], version: str, folder: Path) -> None:
    """Write gate.json with every condition, and metrics.json with what DVC compares."""
    values = {
        "passed": not refusal(results),
        "model": version,
        "refusal": refusal(results),
        "conditions": [dataclasses.asdict(result) for result in results],
    }
    with atomic_dir(folder) as beside:
        write_json(beside / "gate.json", values)
        write_json(beside / "metrics.json", {"gate_passed": values["passed"]})


def _check_limit(condition: str, limit: float, metrics: Metrics) -> GateResult:
    key, name, unit, decimals = _LIMITS[condition]
    figure = metrics.get(key)
    if isinstance(figure, bool) or not isinstance(figure, int | float):
        reason = f"{name} was not measured, and package.gate.{condition} asks for it"
        return GateResult(condition, limit, None, False, reason)
    is_floor = condition.startswith("min_")
    short_by = limit - figure if is_floor else figure - limit
    if short_by <= 0:  # false for NaN
        return GateResult(condition, limit, figure, True)
    # A miss smaller than the usual decimals must not read as "0.8000 is under 0.8000".
    while round(short_by, decimals) == 0 and decimals < 12:
        decimals += 1
    reason = (
        f"{name} is {figure:.{decimals}f}{unit}, {short_by:.{decimals}f}{unit} {'under' if is_floor else 'over'} "
        f"package.gate.{condition} = {limit:.{decimals}f}{unit}"
    )
    return GateResult(condition, limit, figure, False, reason)


def _check_majority(found: Any) -> GateResult:
    """Refuse a model no better than the majority class (:mod:`graft.evaluation.compare.majority`)."""
    condition = "beat_majority"
    standing = found.get("standing") if isinstance(found, dict) else None
    reason = ""
    if standing is None:
        reason = (
            f"it was not compared with always naming the most frequent class, and package.gate.{condition} asks for "
            f"that: {_AGAIN}"
        )
    elif standing == "no better":
        reason = (
            f"it is no better than always answering {found['class']!r}, which is right on {found['accuracy']:.4f} of "
            f"the test images (accuracy {found['difference']:+.4f}, balanced accuracy "
            f"{found['balanced_difference']:+.4f}), and package.gate.{condition} is true"
        )
    return GateResult(condition, True, standing, not reason, reason)


def _check_drop(limit: float, found: Any, version: str) -> GateResult:
    """Refuse what is worse than the production model by more than ``limit``, with its whole 95% interval.

    By the paired difference in accuracy (:func:`graft.stats.paired.compare_pair`), or where ``metric`` in
    params.yaml is another, by the gain in that. Where there is no difference (such as other classes), people decide.
    """
    condition = "max_drop"
    if not isinstance(found, dict) or found.get("version") != version:
        reason = (
            f"it was not compared with the production model ({version}), and package.gate.{condition} asks for that: "
            f"{_AGAIN}"
        )
        return GateResult(condition, limit, None, False, reason)
    name = "gain" if "gain" in found else "difference"
    value, interval = found.get(name), found.get(f"{name}_ci95")
    if value is None or interval is None or interval[1] >= -limit:
        return GateResult(condition, limit, None if interval is None else value, True)
    bounds = f"(95%: {-interval[1]:.4f} to {-interval[0]:.4f}"
    end = f"and package.gate.{condition} = {limit:.4f}"
    if name == "gain":
        reason = (
            f"{found['metric']} is worse by {-value:.4f} than that of the production model ({version}) on the same "
            f"test images {bounds}), {end}"
        )
    else:
        reason = (
            f"accuracy is {-value:.4f} under that of the production model ({version}, {found['accuracy']:.4f}) on the "
            f"same test images {bounds}, McNemar's p = {found['p_value']:.2g}), {end}"
        )
    return GateResult(condition, limit, value, False, reason)
