"""Stage `package`: packages the model if it passes the gate, exports it to ONNX, and registers it with BentoML."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from graft.core.determinism import derive_seed, make_deterministic
from graft.core.errors import GateError
from graft.core.packed_files import StoredFile, open_folder
from graft.core.settings import Gate, Params
from graft.core.workspace import Workspace
from graft.inference.artifact import ARTIFACT_FILE, read_artifact
from graft.inference.package import PackagedModel, version_of, write_package
from graft.pipeline.execution.runner import run_stage
from graft.registry.gate import check_gate, read_metrics, refusal, write_verdict
from graft.registry.provenance import origin_of
from graft.tasks.registry import find_task

# Images on which ONNX Runtime is compared with torch. What an export gets wrong, it gets wrong for most images: so many
# say the same as 500 did, in a batch of one and full batches.
_MOST_COMPARED = 64
# Set by `dvc exp run` for its stages.
EXPERIMENT = "DVC_EXP_NAME"


def run(params: Params, workspace: Workspace) -> None:
    """Package the fine-tuned model.

    The gate's verdict is always written. A refusal is an error, and what was packaged before stays. An experiment
    (`dvc exp run`) is packaged whatever the verdict, and marked: it is not served, and promoted only by a person.

    Raises:
        GateError: a metric is not good enough or missing; nothing is packaged or registered.
        WeightsError: the model is missing or damaged.
    """
    path, model = workspace.scored_metrics, workspace.finetuned
    metrics = read_metrics(path)
    checks = check_gate(gate_of(params), metrics, other_production_version(workspace, model))
    experiment, refused = os.environ.get(EXPERIMENT, ""), refusal(checks)
    if (model / ARTIFACT_FILE).exists():
        write_verdict(checks, version_of(model), workspace.gate)
    if refused and not experiment:
        raise GateError(
            refused,
            where=path,
            remedy="make a better model, or change package.gate in params.yaml; what was packaged before is untouched, "
            "and `.venv/bin/dvc repro evaluate` writes the report of this one",
        )

    # Imported here: the gate must be able to refuse where BentoML is not installed, and in no time.
    from graft.inference.parity import write_onnx
    from graft.registry.model_store import register

    make_deterministic(params.compute.threads)
    export = partial(write_onnx, images=training_images(workspace))
    origin = origin_of(params, workspace, read_artifact(model)).to_json()
    gate = [check.to_json() for check in checks]
    package = write_package(model, workspace.packaged, params.package.name, metrics, gate, export, origin, experiment)
    if experiment:
        print(f"packaged {package.tag} of the experiment {experiment}: {refused or 'it passes the gate'}")
        return
    register(workspace)
    print(f"packaged {package.tag}: {len(checks)} of {len(checks)} conditions of the gate passed")
    print(describe_engine(package))


def gate_of(params: Params) -> Gate:
    """The conditions, without those on comparisons that only tasks with classes have."""
    gate = params.package.gate
    return gate if find_task(params.data.task).categorical else replace(gate, beat_majority=False, max_drop=None)


def training_images(workspace: Workspace) -> list[StoredFile]:
    """Training images for the parity check, in a seeded order; none where there are no splits."""
    if not workspace.splits.is_file():
        return []
    import pandas as pd

    splits = pd.read_parquet(workspace.splits, columns=["path", "split"])
    train = sorted(splits.loc[splits["split"] == "train", "path"], key=lambda path: derive_seed(0, "onnx", path))
    raw = open_folder(workspace.raw)
    return [raw / path for path in train[:_MOST_COMPARED]]


def describe_engine(package: PackagedModel) -> str:
    """For people: which engine will serve the package, and its parity with torch."""
    said = package.onnx
    if not package.onnx_sha256:
        return f"no ONNX file, so it is served by torch: {said.get('refused', 'nobody tried')}"
    return (
        f"ONNX Runtime answers as torch does on {said['same_answer']:.2%} of {said['images']} {said['drawn_from']}; "
        f"probabilities differ by {said['largest_difference']:.1e} at most"
    )


def other_production_version(workspace: Workspace, model: Path) -> str | None:
    """Version of the production model, if there is one and it is not ``model``."""
    if not (workspace.production_model / ARTIFACT_FILE).exists() or not (model / ARTIFACT_FILE).exists():
        return None
    version = version_of(workspace.production_model)
    return None if version == version_of(model) else version


if __name__ == "__main__":
    raise SystemExit(run_stage("package", run))
