"""Source models of any data: made by the stages, reused by `weights: source`, and trained once for the same content."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.core.config import load_params
from graft.core.errors import TrainingError
from graft.core.settings import Candidate, NamedPolicy, Pretrain
from graft.core.workspace import Workspace
from graft.inference.artifact import load_artifact, read_artifact
from graft.pipeline import gather, ingest, locate, pretrain, split, validate
from graft.pipeline.execution.runner import run_stage
from graft.pretraining.source_dataset import TESTED
from graft.pretraining.source_models import FEATURE_IMAGES, SourceModelStore, source_features
from graft.pretraining.source_tasks import GlyphTask
from tests.conftest import picture, write_classes

SHUFFLENET = {"arch": "shufflenet_v2_x0_5", "weights": "source", "size": 32}
SQUEEZENET = {"arch": "squeezenet1_1", "weights": "source", "size": 32}
PRETRAIN = {"source": "../source", "held_out": 0.3, "epochs": 1, "batch_size": 16}
SECTIONS = {"data": {"source": "../images", "test_fraction": 0.4}, "compute": {"threads": 1}}


@pytest.fixture
def project(
    workspace_with: Callable[..., Path], make_classes: Callable[..., Path], tmp_path: Path
) -> Callable[..., Workspace]:
    """A target of two classes, divided, and a source of three others that also holds the target's images."""
    make_classes({"cow": 10, "pig": 10}, size=(40, 40))
    write_classes(tmp_path / "source", {"cat": 8, "dog": 8, "owl": 8}, seed=700_000)
    for number in range(10):
        picture(number, (40, 40)).save(tmp_path / "source/owl" / f"cow_{number}.png")

    def make(*candidates: dict[str, object], **changes: object) -> Workspace:
        values = {**SECTIONS, "pretrain": {**PRETRAIN, **changes}, "zoo": {"candidates": list(candidates)}}
        return Workspace(workspace_with(**values))

    workspace = make(SHUFFLENET)
    for stage in (locate, ingest, validate, split, gather):
        stage.run(load_params(workspace.params), workspace)
    return make


def run(workspace: Workspace) -> None:
    pretrain.run(load_params(workspace.params), workspace)


def hashes(workspace: Workspace) -> dict[str, str]:
    return {
        folder.name: read_artifact(folder).sha256 for folder in workspace.source_models.iterdir() if folder.is_dir()
    }


def test_the_whole_road(project: Callable[..., Workspace], capsys: pytest.CaptureFixture[str]) -> None:
    workspace = project(SHUFFLENET)
    gathered = json.loads((workspace.gathered / "gathered.json").read_text())
    tested = split_counts(workspace)["cow"]
    assert 0 < tested < 10 and gathered["left_out"] == {TESTED: tested}
    run(workspace)
    folder = workspace.source_models / "shufflenet_v2_x0_5-32px"
    artifact, network = load_artifact(folder)
    assert artifact.classes == ("cat", "dog", "owl") and network.head.out_features == 3
    told = artifact.provenance
    assert told["data_sha256"] == gathered["data_sha256"] and told["source"] == "../source"
    assert 0 <= told["accuracy_ci95"][0] <= told["accuracy"] <= told["accuracy_ci95"][1] <= 1
    assert told["train_images"] + told["held_out_images"] == 34 - tested
    scores = json.loads((workspace.pretraining / "scores.json").read_text())
    assert scores[folder.name]["accuracy"] == told["accuracy"]
    features = source_features(folder, len(network.blocks) - 1)
    assert features is not None and features.shape == (min(told["held_out_images"], FEATURE_IMAGES), 1024)
    assert "unseen images of 3 classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("epochs", "batch_size", "said"),
    [
        (3, 4, "the loss is nan in stage 'pretraining', epoch 0, step 1, at the rate "),
        (1, 100, "the pretrained network's answers are not numbers after its last step\n"),
    ],
)
def test_a_source_model_that_diverges_is_refused_and_not_kept(
    epochs: int, batch_size: int, said: str, project: Callable[..., Workspace]
) -> None:
    workspace = project(SHUFFLENET, epochs=epochs, batch_size=batch_size, learning_rate=1e30)
    with pytest.raises(TrainingError) as error:
        run(workspace)
    assert error.value.message().startswith(said), error.value.message()
    assert error.value.where == "pretrain.learning_rate"
    assert not workspace.source_models.exists() and not list(workspace.cache.rglob("model.safetensors"))


def split_counts(workspace: Workspace) -> dict[str, int]:
    import pandas as pd

    table = pd.read_parquet(workspace.splits)
    return table[table["split"] == "test"].groupby("label").size().to_dict()


def test_reused_by_weights_source(project: Callable[..., Workspace]) -> None:
    from graft.inference.pretrained import load_pretrained
    from graft.models.weights.locate import WeightsContext

    workspace = project(SHUFFLENET)
    run(workspace)
    around = WeightsContext(workspace.source_models, True, 0)
    found = load_pretrained(Candidate("shufflenet_v2_x0_5", "source", size=32), around)
    _, network = load_artifact(workspace.source_models / "shufflenet_v2_x0_5-32px")
    assert all((a == b).all() for a, b in zip(found.network.parameters(), network.parameters(), strict=True))


def test_a_new_candidate_trains_no_other_anew(
    project: Callable[..., Workspace], capsys: pytest.CaptureFixture[str]
) -> None:
    run(project(SHUFFLENET))
    capsys.readouterr()
    # Twice the same network, and one more: one training.
    workspace = project(SHUFFLENET, SQUEEZENET, {**SQUEEZENET, "depth": "auto"})
    before = hashes(workspace)
    run(workspace)
    said = capsys.readouterr().out
    assert "shufflenet_v2_x0_5-32px is kept from an earlier run" in said
    assert said.count("training squeezenet1_1") == 1 and "training shufflenet" not in said
    assert before.items() <= hashes(workspace).items() and len(hashes(workspace)) == 2


def key(candidate: Candidate | None = None, task: GlyphTask | None = None, **changes: object) -> str:
    candidate = candidate or Candidate("resnet18", "source", size=32)
    settings = dataclasses.replace(Pretrain(), **changes)  # type: ignore[arg-type]
    return SourceModelStore(task or GlyphTask(2, 0), settings, 0, "auto", Path()).key(candidate)


def test_a_model_is_kept_under_all_that_it_follows_from() -> None:
    keys = [
        key(),
        key(epochs=7),
        key(learning_rate=0.001),
        key(weight_decay=0.1),
        key(batch_size=7),
        key(policy=(NamedPolicy("light"),)),
        key(Candidate("resnet18", "source", size=64)),
        key(Candidate("resnet34", "source", size=32)),
        key(task=GlyphTask(3, 0)),
        key(task=GlyphTask(2, 1)),
    ]
    assert len(set(keys)) == len(keys)
    # Of what a source is called and how it is divided, the hash of the data says all that matters.
    assert key(source="elsewhere", held_out=0.5) == key(Candidate("resnet18", "source", depth="auto", size=32)) == key()


def test_other_data_trains_anew_and_the_same_gives_the_same_bytes(
    project: Callable[..., Workspace], tmp_path: Path
) -> None:
    workspace = project(SHUFFLENET)
    run(workspace)
    before = hashes(workspace)
    file = tmp_path / "source/cat/cat_000.png"
    kept = file.read_bytes()
    picture(900_000).save(file)
    gather.run(load_params(workspace.params), workspace)
    run(workspace)
    assert hashes(workspace) != before
    file.write_bytes(kept)
    gather.run(load_params(workspace.params), workspace)
    for folder in (workspace.cache / "source models").iterdir():
        (folder / "model.safetensors").write_bytes(b"damaged")  # so that nothing kept can be reused
    run(workspace)
    assert hashes(workspace) == before


def test_an_image_that_went_since_is_named(
    project: Callable[..., Workspace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project(SHUFFLENET)
    (tmp_path / "source/cat/cat_000.png").unlink()
    assert run_stage("pretrain", pretrain.run) == 1
    assert capsys.readouterr().err == (
        "error: an image of the source is gone since it was gathered: cat/cat_000.png\n"
        "  where: ../source\n"
        "  remedy: run `.venv/bin/dvc repro pretrain`\n"
    )


def test_what_was_not_gathered_is_said(workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    workspace_with(pretrain=PRETRAIN, zoo={"candidates": [SHUFFLENET]})
    assert run_stage("pretrain", pretrain.run) == 1
    assert capsys.readouterr().err.startswith("error: the source's images were not gathered yet\n")


def test_a_mistake_in_the_policy_is_named(
    project: Callable[..., Workspace], capsys: pytest.CaptureFixture[str]
) -> None:
    project(SHUFFLENET, policy="ligth")
    assert run_stage("pretrain", pretrain.run) == 1
    assert "there is no augmentation policy 'ligth'" in capsys.readouterr().err
