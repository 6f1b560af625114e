"""The rule of promotion: the packaged model must be better than the production model on the same test images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graft.core.config import load_params
from graft.core.errors import VersionError
from graft.core.workspace import Workspace
from graft.evaluation.compare.transfer import CONTROL_FILE
from graft.inference.package import PACKAGE_FILE, PackagedModel, read_package
from graft.registry.history import Promotion, history, rolled_back

ANYWAY = "`graft promote --anyway` promotes it all the same"


@dataclass(frozen=True)
class Decision:
    """The decision of the rule.

    Attributes:
        promote: whether the model is better than the production model.
        sentence: why, or why not, with the figures.
    """

    promote: bool
    sentence: str


def decide(package: PackagedModel, past: Sequence[Promotion], workspace: Workspace) -> Decision:
    """Compare the packaged model with the production model.

    Better means a paired difference over zero. The gate has already refused a model that is significantly worse, and
    waiting for significance would leave many small gains unused.

    Raises:
        VersionError: the packaged model was compared with another model than the production model, or with none.
    """
    if package.refused:
        failed = [f"package.gate.{check['condition']} = {check['limit']}" for check in package.refused]
        return Decision(False, f"it does not pass the gate: {', '.join(failed)}; {ANYWAY}")
    if against := transfer_objection(package.version, workspace):
        return Decision(False, f"{against}; {ANYWAY}")
    if not past:
        return Decision(True, "no model was promoted before")
    current, refused = past[-1], rolled_back(past).get(package.version)
    if refused is not None:
        return Decision(False, f"somebody rolled back from this model at {refused.when}; {ANYWAY}")
    found = difference(package, current.version, workspace)
    if found.get("difference") is None:
        return Decision(False, f"it cannot be compared with the production model: {found.get('reason')}; {ANYWAY}")
    # By the metric of params.yaml, where that is another and these images have it.
    by_metric = found.get("gain") is not None
    gain, bounds = ("gain", "gain_ci95") if by_metric else ("difference", "difference_ci95")
    told = f"{found['metric'] if by_metric else 'accuracy'} {format_difference(found[gain], found.get(bounds))}"
    told += " (above 0: better)" if by_metric else ""
    if found[gain] > 0:
        return Decision(True, f"{told} against the production model")
    return Decision(False, f"it is not better than the production model: {told} on the same test images; {ANYWAY}")


def transfer_objection(version: str, workspace: Workspace) -> str:
    """Why `package.gate.refuse_if_transfer_hurts` keeps a model from being promoted; empty where it does not.

    It is asked here and not of the packaging: the model is packaged before its control is trained.
    """
    if not (workspace.params.exists() and load_params(workspace.params).package.gate.refuse_if_transfer_hurts):
        return ""
    path = workspace.control / CONTROL_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    if not isinstance(found, Mapping) or found.get("model") != version:
        return f"it is not known yet whether transfer hurts, as package.gate asks; `.venv/bin/dvc repro` writes {path}"
    return "transfer hurts: the control from scratch is better" if found.get("verdict") == "hurts" else ""


def hold_reason(workspace: Workspace) -> str:
    """Why automatic promotion has to wait for a person; empty where it has not.

    After a rollback: the person has seen what no figure shows, and the next training may bring it again.

    Raises:
        WeightsError: what is packaged is damaged.
        VersionError: the history is.
    """
    if not (workspace.packaged / PACKAGE_FILE).exists():
        return "nothing is packaged yet"
    past, package = history(workspace), read_package(workspace.packaged)
    if past and past[-1].action == "rollback":
        return (
            f"promotion is held since the rollback to {past[-1].title} at {past[-1].when}: `graft promote` lifts that, "
            "once it puts a better model into use"
        )
    if package.experiment:
        return f"{package.tag} was made by the experiment {package.experiment}: `graft promote` puts it into use"
    return ""


def difference(package: PackagedModel, version: str, workspace: Workspace) -> Mapping[str, Any]:
    """The evaluation's comparison of the packaged model with the production model.

    Raises:
        VersionError: it was made with another model.
    """
    found = package.metrics.get("production")
    if not isinstance(found, Mapping) or found.get("version") != version:
        other = f"with {found.get('version')}" if isinstance(found, Mapping) else "with none"
        raise VersionError(
            f"the packaged model was compared {other}, and the production model is {version}",
            where=workspace.packaged,
            remedy=AGAIN,
        )
    return found


AGAIN = (
    "evaluate again: `.venv/bin/dvc pull models/promoted.dvc` if the production model is not here, then "
    "`.venv/bin/dvc repro --force --single-item score` and `.venv/bin/dvc repro`"
)


def format_difference(value: float, interval: Sequence[float] | None) -> str:
    """``+0.0120 (95%: +0.0031 to +0.0210)``."""
    return f"{value:+.4f}" + (f" (95%: {interval[0]:+.4f} to {interval[1]:+.4f})" if interval else "")
