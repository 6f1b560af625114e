"""The summary of a run, printed at the end of ``make demo`` and of the flow."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from graft.core.errors import GraftError
from graft.core.exit_code import exit_code
from graft.core.workspace import Workspace
from graft.registry.gate import read_metrics


def summary(workspace: Workspace) -> str:
    """Accuracy with its interval, the verdict on transfer, where the report lies and how to serve the model."""
    metrics = read_metrics(workspace.metrics)
    accuracy = _with_interval(metrics, "accuracy")
    transfer, majority = metrics.get("transfer"), metrics.get("majority")
    warning = majority.get("says") if isinstance(majority, Mapping) else None
    rows = [
        ("accuracy", f"{accuracy} on {metrics.get('n_test', '?')} test images that nothing was chosen by"),
        ("macro F1", _with_interval(metrics, "macro_f1")),
        *([] if warning is None else [("majority", warning)]),
        ("transfer", _verdict(transfer if isinstance(transfer, Mapping) else {})),
        ("report", str((workspace.evaluation / "report.html").resolve())),
        ("model", str(workspace.packaged.resolve())),
        ("serve it", "make serve"),
    ]
    return "\n".join(f"{name:<10}{text}" for name, text in rows)


def headline(workspace: Workspace) -> dict[str, Any]:
    """The plain figures of the last evaluation; nothing where there are none."""
    try:
        metrics = read_metrics(workspace.metrics)
    except GraftError:
        return {}
    return {name: value for name, value in metrics.items() if isinstance(value, int | float | str)}


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "unknown"


def _interval(value: object) -> str:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return ""
    return f" (95% interval {_number(value[0])} to {_number(value[1])})"


def _with_interval(metrics: Mapping[str, Any], name: str) -> str:
    return _number(metrics.get(name)) + _interval(metrics.get(f"{name}_ci95"))


def _verdict(transfer: Mapping[str, Any]) -> str:
    verdict = transfer.get("verdict")
    if verdict is None:
        return "not tested"
    if transfer.get("difference") is None:
        return f"{verdict}, by {transfer['rule']}" if transfer.get("rule") else str(verdict)
    gain = f"{float(transfer['difference']):+.3f}"
    return f"{verdict}: {gain} accuracy over training from scratch{_interval(transfer.get('difference_ci95'))}"


def main() -> int:
    """Print the summary of the project in this folder."""
    return exit_code(lambda: print(summary(Workspace())))


if __name__ == "__main__":
    sys.exit(main())
