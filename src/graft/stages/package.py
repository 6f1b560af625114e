"""Stage `package`: what passes the gate is copied to models/packaged and registered; what fails changes nothing."""

from __future__ import annotations

from pathlib import Path

from graft.artifact import CARD_FILE, read_card
from graft.gate import choose, pass_gate, read_metrics
from graft.packaged import version_of, write_package
from graft.settings import Params
from graft.stages.runner import run_stage
from graft.versions.origin import origin_of
from graft.workspace import Workspace


def run(params: Params, workspace: Workspace) -> None:
    """Package the fine-tuned model; where transfer hurts its control, unless ``package.take`` says otherwise.

    Raises:
        GateError: a figure is not good enough, or there are none; nothing is written or registered then.
        WeightsError: the model is missing or damaged.
    """
    path = workspace.evaluation / "metrics.json"
    taken, metrics = choose(params.package.take, read_metrics(path), where=path)
    model = workspace.scratch_control if taken == "control" else workspace.finetuned
    checks = pass_gate(params.package.gate, metrics, path, other_in_use(workspace, model))
    origin = origin_of(params, workspace, read_card(model)).to_json()
    package = write_package(model, workspace.packaged, params.package.name, {**metrics, "taken": taken}, checks, origin)

    # Imported here: the gate must be able to refuse where BentoML is not installed, and in no time.
    from graft.serve.model_store import register

    register(workspace)
    if taken == "control":
        print("transfer hurts, so the control from scratch is packaged (package.take: better)")
    print(f"packaged {package.tag}: {len(checks)} of {len(checks)} conditions of the gate passed")


def other_in_use(workspace: Workspace, model: Path) -> str | None:
    """Version of the model in use, if there is one and it is another than ``model``."""
    if not (workspace.in_use / CARD_FILE).exists() or not (model / CARD_FILE).exists():
        return None
    version = version_of(workspace.in_use)
    return None if version == version_of(model) else version


if __name__ == "__main__":
    raise SystemExit(run_stage("package", run))
