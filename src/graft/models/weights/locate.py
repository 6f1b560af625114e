"""Find the file that holds a candidate's weights, downloading it first where that is asked for.

``weights`` of a candidate names a kind (a row of ``LOCATORS``), one of torchvision's weights, or a file.
:mod:`graft.inference.pretrained` loads what is found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graft.core.errors import WeightsError
from graft.core.network import downloads_allowed
from graft.core.settings import Candidate
from graft.models.weights.bundled import bundled_file
from graft.models.zoo.registry import builder_for, check_input_size


@dataclass(frozen=True)
class WeightsContext:
    """What weights depend on besides the candidate.

    Attributes:
        sources: folder of the source models that the stage pretrain made.
        offline: never download.
        seed: the project's seed, for random initial weights.
    """

    sources: Path
    offline: bool
    seed: int

    @property
    def may_download(self) -> bool:
        """False with ``offline`` or ``GRAFT_OFFLINE=1``."""
        return not self.offline and downloads_allowed()


def source_folder(sources: Path, candidate: Candidate) -> Path:
    """The folder of the source model of an architecture at an input size."""
    size = "own" if candidate.size is None else f"{candidate.size}px"
    return sources / f"{candidate.arch.replace(':', '_')}-{size}"


def _locate_none(candidate: Candidate, context: WeightsContext) -> None:
    return None


def _locate_source(candidate: Candidate, context: WeightsContext) -> Path:
    return source_folder(context.sources, candidate)


def _locate_bundled(candidate: Candidate, context: WeightsContext) -> Path:
    return bundled_file(candidate.arch)


def _locate_pretrained(candidate: Candidate, context: WeightsContext) -> Path:
    return builder_for(candidate.arch).published_file(candidate.arch, "DEFAULT", context.may_download)


# The named kinds; anything else is a path or one of torchvision's weights names.
LOCATORS: dict[str, Callable[[Candidate, WeightsContext], Path | None]] = {
    "none": _locate_none,
    "source": _locate_source,
    "bundled": _locate_bundled,
    "pretrained": _locate_pretrained,
}


def locate_weights(candidate: Candidate, context: WeightsContext) -> Path | None:
    """Return the file or folder that holds the weights, downloading it first where allowed; None for random weights.

    Raises:
        ConfigError: unknown architecture, or an input size that it cannot take.
        WeightsError: there are no such weights, or they are not on this machine and cannot be downloaded.
    """
    check_input_size(candidate.arch, candidate.size)
    if candidate.weights in LOCATORS:
        return LOCATORS[candidate.weights](candidate, context)
    if candidate.weights_file is not None:
        return _local_file(candidate.weights_file)
    return builder_for(candidate.arch).published_file(candidate.arch, candidate.weights, context.may_download)


def _local_file(path: Path) -> Path:
    if not path.is_file():
        raise WeightsError.no_file(path)
    return path
