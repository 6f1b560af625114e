"""Stage `package`: what passes the gate is copied to models/packaged and registered; what fails changes nothing."""

from __future__ import annotations

from graft.gate import choose, pass_gate, read_metrics
from graft.packaged import write_package
from graft.settings import Params
from graft.stages.runner import run_stage
from graft.workspace import Workspace


def run(params: Params, workspace: Workspace) -> None:
    """Package the fine-tuned model; where transfer hurts its control, unless ``package.take`` says otherwise.

    Raises:
        GateError: a figure is not good enough, or there are none; nothing is written or registered then.
        WeightsError: the model is missing or damaged.
    """
    path = workspace.evaluation / "metrics.json"
    taken, metrics = choose(params.package.take, read_metrics(path), where=path)
    checks = pass_gate(params.package.gate, metrics, where=path)
    model = workspace.scratch_control if taken == "control" else workspace.finetuned
    package = write_package(model, workspace.packaged, params.package.name, {**metrics, "taken": taken}, checks)

    # Imported here: the gate must be able to refuse where BentoML is not installed, and in no time.
    from graft.serve.model_store import register

    register(workspace)
    if taken == "control":
        print("transfer hurts, so the control from scratch is packaged (package.take: better)")
    print(f"packaged {package.tag}: {len(checks)} of {len(checks)} conditions of the gate passed")


if __name__ == "__main__":
    raise SystemExit(run_stage("package", run))
