"""Where a candidate's weights come from, kind by kind; never unpickled, never downloaded unless asked for.

``weights`` of a candidate names a kind (a row of ``KINDS``), a torchvision weights name, or a file. Each kind
finds its file first (:func:`locate`, quick, before any work is done) and reads it later (:func:`pretrained`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.determinism import derive_seed
from graft.errors import WeightsError, did_you_mean
from graft.settings import Candidate
from graft.zoo import downloads
from graft.zoo.bundled import bundled_file, map_by_order
from graft.zoo.catalogue import TIMM, family_of, require_size
from graft.zoo.network import Network
from graft.zoo.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Surroundings:
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
        return not self.offline and os.environ.get("GRAFT_OFFLINE") != "1"


@dataclass(frozen=True)
class Pretrained:
    """A candidate's whole network with its weights, and the preprocessing that belongs to them."""

    network: Network
    preprocessing: Preprocessing


def source_folder(sources: Path, candidate: Candidate) -> Path:
    """Where the pretrain stage keeps the source model of an architecture at a size."""
    size = "own" if candidate.size is None else f"{candidate.size}px"
    return sources / f"{candidate.arch.replace(':', '_')}-{size}"


def _locate_none(candidate: Candidate, around: Surroundings) -> None:
    return None


def _locate_source(candidate: Candidate, around: Surroundings) -> Path:
    return source_folder(around.sources, candidate)


def _locate_bundled(candidate: Candidate, around: Surroundings) -> Path:
    return bundled_file(candidate.arch)


def _locate_pretrained(candidate: Candidate, around: Surroundings) -> Path:
    if candidate.arch.startswith(TIMM):
        return downloads.timm_file(candidate.arch, around.may_download)
    return downloads.torchvision_file(candidate.arch, "DEFAULT", around.may_download)


# The named kinds; anything else is a file's path or one of torchvision's weights names.
KINDS: dict[str, Callable[[Candidate, Surroundings], Path | None]] = {
    "none": _locate_none,
    "source": _locate_source,
    "bundled": _locate_bundled,
    "pretrained": _locate_pretrained,
}

FILES = (".safetensors", ".pth", ".pt")


def locate(candidate: Candidate, around: Surroundings) -> Path | None:
    """The file or folder that holds the weights, downloaded first where that is allowed; None for random ones.

    Raises:
        ConfigError: unknown architecture, or a size it cannot take.
        WeightsError: the weights do not exist, or are not here and cannot be had; the message names the file,
            where it was looked for and where to put it.
    """
    require_size(candidate.arch, candidate.size)
    if candidate.weights in KINDS:
        return KINDS[candidate.weights](candidate, around)
    if candidate.weights.endswith(FILES):
        return _local_file(candidate)
    if candidate.arch.startswith(TIMM):
        if candidate.weights == "DEFAULT":
            return _locate_pretrained(candidate, around)
        raise WeightsError(
            f"timm has no weights named {candidate.weights!r}",
            where=f"zoo.candidates: {candidate.arch}",
            remedy=did_you_mean(candidate.weights, KINDS),
        )
    return downloads.torchvision_file(candidate.arch, candidate.weights, around.may_download)


def _local_file(candidate: Candidate) -> Path:
    path = Path(candidate.weights).expanduser()
    if not path.is_file():
        raise WeightsError(
            "the weights file is not there",
            where=path.absolute(),
            remedy="put it there, or mend the path in zoo.candidates in params.yaml",
        )
    return path


def pretrained(candidate: Candidate, around: Surroundings) -> Pretrained:
    """Build the candidate's whole network (not cut, its head not yet the task's) and load its weights.

    Raises:
        ConfigError: unknown architecture.
        WeightsError: the weights cannot be had, or are not this architecture's.
    """
    import torch

    from graft.artifact import load_artifact

    found = locate(candidate, around)
    if candidate.weights == "source":
        assert found is not None
        artifact, network = load_artifact(found)
        return Pretrained(network, artifact.preprocessing)
    builder = family_of(candidate.arch)
    preprocessing = preprocessing_of(candidate, around)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(around.seed, "initial weights", candidate.arch))
        model = builder.model(candidate.arch, preprocessing.geometry.size)
    if found is not None:
        state = read_state(found)
        if candidate.weights == "bundled":
            state = map_by_order(state, model.state_dict(), found)
        _load(model, builder.translate(candidate.arch, model, state), found)
    network = Network(builder.parts(candidate.arch, model), classes=1)
    return Pretrained(network, preprocessing)


def preprocessing_of(candidate: Candidate, around: Surroundings) -> Preprocessing:
    """The preprocessing that belongs to a candidate's weights, without loading them."""
    from graft.artifact import read_card

    if candidate.weights == "source":
        return read_card(source_folder(around.sources, candidate)).preprocessing
    return family_of(candidate.arch).preprocessing(candidate.arch, candidate.size, candidate.weights)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict without running any code that the file may hold.

    Raises:
        WeightsError: the file is damaged, or holds anything but tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise WeightsError(f"the weights file cannot be read: {error}", where=path, remedy="get it again") from None
    except Exception as error:  # pickle raises what it likes for a file that is more than tensors
        raise WeightsError(
            f"the weights file holds more than tensors and is refused ({type(error).__name__})",
            where=path,
            remedy="convert it to .safetensors where it comes from",
        ) from None
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError("the weights file is not a state dict", where=path, remedy="save model.state_dict() only")
    return dict(state)


def _load(model: Any, state: Mapping[str, Tensor], where: Path) -> None:
    """Load all but a head of another class count; anything else that does not fit is refused."""
    own: dict[str, Tensor] = model.state_dict()
    last_module = list(own)[-1].rpartition(".")[0]
    head = {key for key in own if key.rpartition(".")[0] == last_module}
    # PyTorch did not count batches before 0.4.1, and many published files are older; it starts at zero for them.
    absent = {key for key in own if key.endswith(".num_batches_tracked") and key not in state} | head
    usable = {k: v for k, v in state.items() if not (k in head and k in own and own[k].shape != v.shape)}
    wrong = [
        f"{k} {tuple(v.shape)} is not {tuple(own[k].shape)}"
        for k, v in usable.items()
        if k in own and own[k].shape != v.shape
    ]
    wrong += [f"{key} is missing" for key in own if key not in usable and key not in absent]
    wrong += [f"{key} is unknown" for key in usable if key not in own]
    if wrong:
        raise WeightsError(
            f"these weights are not this architecture's: {'; '.join(wrong[:3])}"
            + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""),
            where=where,
            remedy="take the weights that were saved from the same architecture",
        )
    # Into the model's own dict, because that carries the versions by which some modules know today's names.
    own.update(usable)
    model.load_state_dict(own)
