"""Where a candidate's weights come from, kind by kind; never unpickled, never downloaded unless asked for.

``weights`` of a candidate names a kind (a row of ``LOCATORS``), a torchvision weights name, or a file. Each kind
finds its file first (:func:`locate`, quick, before any work is done) and reads it later (:func:`pretrained`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graft.core.determinism import derive_seed
from graft.core.errors import WeightsError, did_you_mean
from graft.core.files import sha256
from graft.core.network import downloads_allowed
from graft.core.settings import Candidate
from graft.models.backbone import Network
from graft.models.preprocessing import Preprocessing
from graft.models.weights import downloads
from graft.models.weights.bundled import bundled_file, map_by_order
from graft.models.weights.state_dict import load_state, read_state
from graft.models.zoo.registry import builder_for, check_input_size
from graft.models.zoo.timm_builder import TIMM


@dataclass(frozen=True)
class WeightsContext:
    """What finding and initialising weights needs to know besides the candidate.

    Attributes:
        sources: the folder of the models that the pretrain stage made.
        offline: never download.
        seed: the project's seed, for random initial weights.
    """

    sources: Path
    offline: bool
    seed: int

    @property
    def may_download(self) -> bool:
        """False with ``zoo.offline: true`` or ``GRAFT_OFFLINE=1``."""
        return not self.offline and downloads_allowed()


@dataclass(frozen=True)
class Pretrained:
    """A candidate's whole network with its weights, and the preprocessing that belongs to them."""

    network: Network
    preprocessing: Preprocessing


def source_folder(sources: Path, candidate: Candidate) -> Path:
    """Where the pretrain stage keeps the source model of an architecture at a size."""
    size = "own" if candidate.size is None else f"{candidate.size}px"
    return sources / f"{candidate.arch.replace(':', '_')}-{size}"


def _locate_none(candidate: Candidate, around: WeightsContext) -> None:
    return None


def _locate_source(candidate: Candidate, around: WeightsContext) -> Path:
    return source_folder(around.sources, candidate)


def _locate_bundled(candidate: Candidate, around: WeightsContext) -> Path:
    return bundled_file(candidate.arch)


def _locate_pretrained(candidate: Candidate, around: WeightsContext) -> Path:
    if candidate.arch.startswith(TIMM):
        return downloads.timm_file(candidate.arch, around.may_download)
    return downloads.torchvision_file(candidate.arch, "DEFAULT", around.may_download)


# The named kinds; anything else is a file's path or one of torchvision's weights names.
LOCATORS: dict[str, Callable[[Candidate, WeightsContext], Path | None]] = {
    "none": _locate_none,
    "source": _locate_source,
    "bundled": _locate_bundled,
    "pretrained": _locate_pretrained,
}


def locate(candidate: Candidate, around: WeightsContext) -> Path | None:
    """The file or folder that holds the weights, downloaded first where that is allowed; None for random ones.

    Raises:
        ConfigError: unknown architecture, or a size it cannot take.
        WeightsError: the weights do not exist, or are not here and cannot be had; the message names the file,
            where it was looked for and where to put it.
    """
    check_input_size(candidate.arch, candidate.size)
    if candidate.weights in LOCATORS:
        return LOCATORS[candidate.weights](candidate, around)
    if candidate.weights_file is not None:
        return _local_file(candidate.weights_file)
    if candidate.arch.startswith(TIMM):
        if candidate.weights == "DEFAULT":
            return _locate_pretrained(candidate, around)
        raise WeightsError(
            f"timm has no weights named {candidate.weights!r}",
            where=f"zoo.candidates: {candidate.arch}",
            remedy=did_you_mean(candidate.weights, LOCATORS),
        )
    return downloads.torchvision_file(candidate.arch, candidate.weights, around.may_download)


def _local_file(path: Path) -> Path:
    if not path.is_file():
        raise WeightsError.no_file(path)
    return path


def weights_digest(candidate: Candidate, around: WeightsContext) -> str | None:
    """The SHA-256 of the file that holds the weights, by which other ones of the same name are told; None: random ones.

    Raises:
        ConfigError: unknown architecture, or a size it cannot take.
        WeightsError: the weights cannot be had.
    """
    from graft.inference.artifact import WEIGHTS_FILE

    found = locate(candidate, around)
    if found is None:
        return None
    path = found / WEIGHTS_FILE if candidate.weights == "source" else found
    try:
        return sha256(path)
    except FileNotFoundError:
        raise WeightsError("the weights are not there", where=path, remedy="run `.venv/bin/dvc repro`") from None


def pretrained(candidate: Candidate, around: WeightsContext) -> Pretrained:
    """Build the candidate's whole network (not cut, its head not yet the task's) and load its weights.

    Raises:
        ConfigError: unknown architecture.
        WeightsError: the weights cannot be had, or are not this architecture's.
    """
    import torch

    from graft.inference.artifact import load_artifact

    found = locate(candidate, around)
    if candidate.weights == "source":
        assert found is not None
        artifact, network = load_artifact(found)
        return Pretrained(network, artifact.preprocessing)
    builder = builder_for(candidate.arch)
    preprocessing = preprocessing_of(candidate, around)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(around.seed, "initial weights", candidate.arch))
        model = builder.model(candidate.arch, preprocessing.geometry.size)
    if found is not None:
        state = read_state(found)
        if candidate.weights == "bundled":
            state = map_by_order(state, model.state_dict(), found)
        state = builder.translate(candidate.arch, model, state)
        load_state(model, state, builder.head(candidate.arch, model), found)
    network = Network(builder.parts(candidate.arch, model, preprocessing.geometry.size), classes=1)
    return Pretrained(network, preprocessing)


def preprocessing_of(candidate: Candidate, around: WeightsContext) -> Preprocessing:
    """The preprocessing that belongs to a candidate's weights, without loading them."""
    from graft.inference.artifact import read_card

    if candidate.weights == "source":
        return read_card(source_folder(around.sources, candidate)).preprocessing
    return builder_for(candidate.arch).preprocessing(candidate.arch, candidate.size, candidate.weights)
