"""Build a candidate's network with its pretrained weights, and the preprocessing that belongs to them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from graft.core.determinism import derive_seed
from graft.core.errors import WeightsError
from graft.core.files import sha256
from graft.core.settings import Candidate
from graft.inference.artifact import WEIGHTS_FILE, load_artifact, read_artifact
from graft.modalities.preprocessor import Preprocessor
from graft.models.backbone import Network
from graft.models.weights.bundled import map_by_order
from graft.models.weights.locate import WeightsContext, locate_weights, source_folder
from graft.models.weights.state_dict import load_state, read_state
from graft.models.zoo.registry import builder_for


@dataclass(frozen=True)
class Pretrained:
    """A candidate's whole network, not cut and without the task's head, and its preprocessing."""

    network: Network
    preprocessing: Preprocessor


def load_pretrained(candidate: Candidate, context: WeightsContext) -> Pretrained:
    """Build the candidate's whole network and load its weights.

    Raises:
        ConfigError: unknown architecture.
        WeightsError: the weights cannot be had, or are not this architecture's.
    """
    found = locate_weights(candidate, context)
    if candidate.weights == "source":
        artifact, network = load_artifact(source_folder(context.sources, candidate))
        return Pretrained(network, artifact.preprocessing)
    builder = builder_for(candidate.arch)
    preprocessing = preprocessing_of(candidate, context)
    size = preprocessing.size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(context.seed, "initial weights", candidate.arch))
        model = builder.model(candidate.arch, size)
    if found is not None:
        state = read_state(found)
        if candidate.weights == "bundled":
            state = map_by_order(state, model.state_dict(), found)
        state = builder.translate(candidate.arch, model, state)
        load_state(model, state, builder.head(candidate.arch, model), found)
    return Pretrained(Network(builder.parts(candidate.arch, model, size), classes=1), preprocessing)


def preprocessing_of(candidate: Candidate, context: WeightsContext) -> Preprocessor:
    """The preprocessing that belongs to a candidate's weights, without loading them."""
    if candidate.weights == "source":
        return read_artifact(source_folder(context.sources, candidate)).preprocessing
    return builder_for(candidate.arch).preprocessing(candidate.arch, candidate.size, candidate.weights)


def weights_digest(candidate: Candidate, context: WeightsContext) -> str | None:
    """SHA-256 of the file that holds the weights, or None for random weights.

    Raises:
        ConfigError: unknown architecture, or an input size that it cannot take.
        WeightsError: the weights cannot be had.
    """
    found = locate_weights(candidate, context)
    if found is None:
        return None
    path = found / WEIGHTS_FILE if candidate.weights == "source" else found
    try:
        return sha256(path)
    except FileNotFoundError:
        raise WeightsError("the weights are not there", where=path, remedy="run `.venv/bin/dvc repro`") from None
