"""Stage `package`: what passes is packaged and registered; what is refused changes nothing at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from graft.core.errors import GateError, WeightsError
from graft.core.files import sha256
from graft.core.settings import Candidate, Gate, Package, Params, Zoo
from graft.core.workspace import Workspace
from graft.inference import parity
from graft.inference.package import read_package, version_of
from graft.pipeline import package
from graft.registry.rule import decide, hold_reason
from graft.serving.model.location import model_folder
from tests.serving.conftest import bentoml_home, export_once, finetune

FIGURES = {
    "accuracy": 0.9,
    "macro_f1": 0.9,
    "latency_ms": 5.0,
    "size_mb": 2.0,
    "majority": {"standing": "better"},
}


def params(name: str = "birds", **gate: float | bool) -> Params:
    return Params(zoo=Zoo(candidates=(Candidate("resnet18"),)), package=Package(name=name, gate=Gate(**gate)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """An empty BentoML home of the test's own."""
    with bentoml_home(tmp_path / "bentoml home") as home:
        yield home


@pytest.fixture
def workspace(
    tmp_path: Path, store: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """A project that has come as far as the figures on its test images."""
    kept = tmp_path_factory.getbasetemp() / "exports"
    kept.mkdir(exist_ok=True)
    monkeypatch.setattr(parity, "write_onnx", export_once(kept))
    workspace = Workspace(tmp_path / "project")
    finetune(workspace.finetuned)
    evaluated(workspace)
    return workspace


def evaluated(workspace: Workspace, **figures: object) -> None:
    """Write the figures that the gate asks for."""
    workspace.scores.mkdir(parents=True, exist_ok=True)
    (workspace.scores / "metrics.json").write_text(json.dumps({**FIGURES, **figures}))


def snapshot(*folders: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its content and time of change."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_model_that_passes_is_packaged_and_registered(workspace: Workspace, store: Path) -> None:
    package.run(params(min_accuracy=0.8), workspace)
    for file in ("model.safetensors", "model.json"):
        assert (workspace.packaged / file).read_bytes() == (workspace.finetuned / file).read_bytes()
    described = read_package(workspace.packaged)
    assert described.tag == f"birds:{version_of(workspace.finetuned)}"
    assert described.gate == (
        {"condition": "min_accuracy", "limit": 0.8, "figure": 0.9, "passed": True},
        {"condition": "beat_majority", "limit": True, "figure": "better", "passed": True},
    )
    assert (store / "models" / "birds" / described.version / "model.safetensors").is_file()


def test_onnx_is_compared_on_training_images_alone(
    workspace: Workspace, make_classes: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    raw = make_classes({"ant": 3, "bee": 3}, name="project/data/raw")
    assert raw == workspace.raw
    paths = sorted(str(path.relative_to(raw)) for path in raw.rglob("*.png"))
    split = ["test" if path.endswith("_000.png") else "train" for path in paths]
    pd.DataFrame({"path": paths, "split": split}).to_parquet(workspace.splits)
    for path, part in zip(paths, split, strict=True):
        if part == "test":
            (raw / path).write_bytes(b"to open it would be an error")
    finetune(workspace.finetuned, seed=99)  # no other test exports it, in whatever order they run
    package.run(params(), workspace)
    said = read_package(workspace.packaged).onnx
    assert (said["images"], said["drawn_from"], said["same_answer"]) == (4, "training images", 1.0)
    assert sha256(workspace.packaged / "model.onnx") == said["sha256"]
    assert "ONNX Runtime answers as torch does on 100.00% of 4 training images" in capsys.readouterr().out


def test_a_model_that_cannot_be_exported_is_packaged_for_torch(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store: Path
) -> None:
    monkeypatch.setattr(parity, "write_onnx", lambda folder, images: {"refused": "planted"})
    package.run(params(), workspace)
    assert not (workspace.packaged / "model.onnx").exists()
    assert read_package(workspace.packaged).onnx == {"refused": "planted"}
    assert "no ONNX file, so it is served by torch: planted" in capsys.readouterr().out


def test_it_is_packaged_before_the_control_is_trained_whatever_the_gate_asks_of_that(workspace: Workspace) -> None:
    """Which `graft promote` asks for: a control, were there one, is never packaged."""
    finetune(workspace.controls / "scratch", seed=1)
    package.run(params(min_accuracy=0.8, refuse_if_transfer_hurts=True), workspace)
    described = read_package(workspace.packaged)
    assert described.version == version_of(workspace.finetuned)
    assert "transfer" not in described.metrics and "taken" not in described.metrics
    assert [check["condition"] for check in described.gate] == ["min_accuracy", "beat_majority"]


def test_a_model_that_is_no_better_than_the_majority_is_not_packaged(workspace: Workspace) -> None:
    figures = {"class": "ok", "accuracy": 0.96, "difference": 0.0, "balanced_difference": 0.0}
    evaluated(workspace, majority={**figures, "standing": "no better"})
    with pytest.raises(GateError, match="it is no better than always answering 'ok'"):
        package.run(params(), workspace)
    assert not workspace.packaged.exists()
    package.run(params(beat_majority=False), workspace)


def against(version: str, difference: float) -> dict[str, object]:
    """What the evaluation says of the production model."""
    bounds = [difference - 0.01, difference + 0.01]
    better = "new" if bounds[0] > 0 else "production" if bounds[1] < 0 else "undecided"
    figures = {"accuracy": 0.9 - difference, "difference": difference, "difference_ci95": bounds, "p_value": 0.01}
    return {"production": {"version": version, "better": better, **figures}}


def test_what_is_worse_than_the_model_in_use_is_refused_and_the_comparison_goes_with_the_package(
    workspace: Workspace,
) -> None:
    package.run(params(), workspace)
    first = read_package(workspace.packaged)
    package.run(params(), workspace)  # it is the production model itself, so there is nothing to compare
    finetune(workspace.finetuned, seed=1)
    evaluated(workspace, **against(first.version, -0.05))
    with pytest.raises(GateError, match=r"accuracy is 0\.0500 under that of the production model"):
        package.run(params(), workspace)
    assert read_package(workspace.packaged) == first
    evaluated(workspace, **against(first.version, 0.05))
    package.run(params(), workspace)
    assert read_package(workspace.packaged).metrics["production"]["version"] == first.version


def test_the_promoted_model_is_the_one_in_use(workspace: Workspace) -> None:
    package.run(params(), workspace)
    promoted = read_package(workspace.packaged).version
    shutil.copytree(workspace.packaged, workspace.promoted)
    for seed in (1, 2):
        finetune(workspace.finetuned, seed=seed)
        evaluated(workspace, **against(promoted, 0.05))
        package.run(params(), workspace)
    evaluated(workspace, **against(read_package(workspace.packaged).version, 0.05))
    finetune(workspace.finetuned, seed=3)
    with pytest.raises(GateError, match=f"it was not compared with the production model .{promoted}."):
        package.run(params(), workspace)


def test_a_package_tells_what_it_was_made_from_and_so_does_the_store(workspace: Workspace, store: Path) -> None:
    import bentoml

    package.run(params(), workspace)
    described = read_package(workspace.packaged)
    assert set(described.origin) == {"data", "params", "commit"} and len(described.origin["params"]) == 64
    labels = bentoml.models.get(described.tag).info.labels
    assert labels["params"] == described.origin["params"] and labels["accuracy"] == "0.9000"
    assert labels["model"] == described.tag


def test_a_model_that_is_gone_is_said(workspace: Workspace) -> None:
    shutil.rmtree(workspace.finetuned)
    with pytest.raises(WeightsError, match="there is no model here"):
        package.run(params(), workspace)
    assert not workspace.packaged.exists()


def test_again_is_the_same(workspace: Workspace, store: Path) -> None:
    package.run(params(), workspace)
    first = {path.name: path.read_bytes() for path in workspace.packaged.iterdir()}
    package.run(params(), workspace)
    assert {path.name: path.read_bytes() for path in workspace.packaged.iterdir()} == first
    assert len([path for path in (store / "models" / "birds").iterdir() if path.is_dir()]) == 1


def test_refused_model_changes_nothing(workspace: Workspace, store: Path) -> None:
    package.run(params(min_accuracy=0.8), workspace)
    finetune(workspace.finetuned, seed=1)
    evaluated(workspace, accuracy=0.7)
    before = snapshot(workspace.packaged, store)
    with pytest.raises(GateError, match=r"accuracy is 0\.7000, 0\.1000 under package\.gate\.min_accuracy = 0\.8000"):
        package.run(params(min_accuracy=0.8), workspace)
    assert snapshot(workspace.packaged, store) == before


def test_an_experiment_is_packaged_with_the_gates_verdict_and_is_neither_served_nor_promoted_by_itself(
    workspace: Workspace, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "wooly-bear")
    monkeypatch.delenv("GRAFT_MODEL", raising=False)
    package.run(params(min_accuracy=0.95), workspace)
    described = read_package(workspace.packaged)
    assert described.experiment == "wooly-bear" and described.version == version_of(workspace.finetuned)
    reason = "accuracy is 0.9000, 0.0500 under package.gate.min_accuracy = 0.9500"
    assert capsys.readouterr().out.endswith(
        f"packaged {described.tag} of the experiment wooly-bear: the gate refuses this model: {reason}\n"
    )
    verdict = json.loads((workspace.gate / "gate.json").read_text())
    assert (verdict["passed"], verdict["model"]) == (False, described.version)
    assert [one["reason"] for one in verdict["conditions"] if not one["passed"]] == [reason]
    assert json.loads((workspace.gate / "metrics.json").read_text()) == {"gate_passed": False}
    assert not (store / "models" / "birds").exists(), "`birds:latest` is not an experiment's"
    with pytest.raises(WeightsError) as caught:
        model_folder(None, workspace.root)
    assert caught.value.what == (
        "the packaged model is that of the experiment wooly-bear, and nobody has put it into use"
    )
    assert (
        hold_reason(workspace)
        == f"{described.tag} was made by the experiment wooly-bear: `graft promote` puts it into use"
    )
    assert decide(described, (), workspace).sentence == (
        "it does not pass the gate: package.gate.min_accuracy = 0.95; `graft promote --anyway` promotes it all the same"
    )
    # What a person put into use is served, whoever made it.
    shutil.copytree(workspace.packaged, workspace.promoted)
    assert model_folder(None, workspace.root) == workspace.promoted


def test_the_verdict_is_written_where_the_main_line_is_refused(workspace: Workspace) -> None:
    with pytest.raises(GateError):
        package.run(params(min_accuracy=0.95), workspace)
    assert json.loads((workspace.gate / "metrics.json").read_text()) == {"gate_passed": False}
    package.run(params(min_accuracy=0.85), workspace)
    assert json.loads((workspace.gate / "metrics.json").read_text()) == {"gate_passed": True}


def test_refused_first_model_leaves_no_trace(workspace: Workspace, store: Path) -> None:
    with pytest.raises(GateError):
        package.run(params(max_latency_ms=1.0), workspace)
    assert not workspace.packaged.exists()
    assert not store.exists()


def test_model_that_was_not_evaluated_is_refused(workspace: Workspace) -> None:
    (workspace.scores / "metrics.json").unlink()
    with pytest.raises(GateError, match="the model was not evaluated yet"):
        package.run(params(), workspace)
    assert not workspace.packaged.exists()


def test_refusal_as_the_stage_says_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from graft.pipeline.execution.runner import run_stage

    workspace.params.write_text("zoo: {candidates: [resnet18]}\npackage: {name: birds, gate: {min_accuracy: 0.95}}\n")
    monkeypatch.chdir(workspace.root)
    assert run_stage("package", package.run) == 1
    assert capsys.readouterr().err.startswith(
        "error: the gate refuses this model: accuracy is 0.9000, 0.0500 under package.gate.min_accuracy = 0.9500\n"
    )
