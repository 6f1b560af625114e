"""Stage `pretrain`: check that every candidate's weights can be had, and train the source models that are asked for."""

from __future__ import annotations

from pathlib import Path

from graft.files import whole_file, whole_folder, write_json
from graft.settings import Candidate, Params
from graft.stages.runner import run_stage
from graft.workspace import Workspace

TEST_PER_CLASS = 25


def run(params: Params, workspace: Workspace) -> None:
    """Write a source model per candidate with ``weights: source`` into models/source, and their scores.

    Raises:
        ConfigError: unknown architecture, or a size it cannot take.
        WeightsError: weights that a candidate names cannot be had.
    """
    from graft.zoo.weights import Surroundings, locate

    around = Surroundings(workspace.source_models, params.zoo.offline, params.seed)
    for candidate in params.zoo.candidates:
        locate(candidate, around)
    wanted = [candidate for candidate in params.zoo.candidates if candidate.weights == "source"]
    scores: dict[str, dict[str, object]] = {}
    with whole_folder(workspace.source_models) as models:
        for candidate in wanted:
            folder = _folder(models, candidate)
            if folder.name not in scores:
                print(f"pretraining {candidate.arch} on rendered characters")
                scores[folder.name] = _train_one(candidate, folder, params)
                print(f"  accuracy on unseen characters: {scores[folder.name]['accuracy']:.3f}")
        # A folder that holds nothing cannot be versioned, and an empty list says something too.
        write_json(models / "source.json", {"task": "characters of 62 classes", "models": scores})
    with whole_folder(workspace.pretraining) as reports:
        write_json(reports / "scores.json", scores)
        _sample_sheet(reports / "characters.png", params)


def _folder(models: Path, candidate: Candidate) -> Path:
    from graft.zoo.weights import source_folder

    return source_folder(models, candidate)


def _train_one(candidate: Candidate, folder: Path, params: Params) -> dict[str, object]:
    import torch

    from graft.artifact import Artifact, save_artifact
    from graft.determinism import derive_seed
    from graft.pretrain.glyphs import CLASSES, glyphs
    from graft.pretrain.source import accuracy, at_geometry, pretrain
    from graft.train.loop import fabric_for
    from graft.zoo.catalogue import family_of
    from graft.zoo.network import build_network

    seed = derive_seed(params.seed, "pretrain", candidate.arch, candidate.size)
    preprocessing = family_of(candidate.arch).preprocessing(candidate.arch, candidate.size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(candidate.arch, len(CLASSES), size=preprocessing.geometry.size)
    train = at_geometry(*glyphs(params.pretrain.images_per_class, params.seed, "train"), preprocessing)
    test = at_geometry(*glyphs(TEST_PER_CLASS, params.seed, "test"), preprocessing)
    losses = pretrain(network, preprocessing, train, params.pretrain, seed, fabric_for(params.compute.device))
    score: dict[str, object] = {"accuracy": accuracy(network, preprocessing, test), "losses": losses}
    artifact = Artifact(CLASSES, candidate.arch, "none", None, preprocessing, provenance=score)
    save_artifact(folder, artifact, network)
    return score


def _sample_sheet(path: Path, params: Params) -> None:
    """Ten of each class in a row, as people would look at the source task."""
    import numpy as np
    from PIL import Image

    from graft.pretrain.glyphs import CLASSES, SIDE, glyphs

    images, _ = glyphs(10, params.seed, "train")
    sheet = images.reshape(len(CLASSES), 10, SIDE, SIDE).transpose(1, 2, 0, 3).reshape(10 * SIDE, -1)
    with whole_file(path) as beside:
        Image.fromarray(np.ascontiguousarray(sheet)).resize((sheet.shape[1] * 3, sheet.shape[0] * 3), 0).save(beside)


if __name__ == "__main__":
    raise SystemExit(run_stage("pretrain", run, uses_torch=True))
