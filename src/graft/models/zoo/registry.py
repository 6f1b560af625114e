"""The architectures that can be named, their builders, input sizes and published accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graft.core.errors import ConfigError, did_you_mean
from graft.core.settings import Candidate
from graft.models.zoo.builder import Builder
from graft.models.zoo.timm_builder import TIMM, TimmBuilder
from graft.models.zoo.torchvision_builder import TorchvisionBuilder

if TYPE_CHECKING:
    from graft.models.backbone import Network

TORCHVISION_BUILDER = TorchvisionBuilder()
# The libraries that architectures come from, by what their names begin with. To add one, add a row.
BUILDERS: dict[str, Builder] = {TIMM: TimmBuilder(), "": TORCHVISION_BUILDER}


def names() -> tuple[str, ...]:
    """Every architecture that can be named, torchvision's first."""
    return tuple(name for prefix in sorted(BUILDERS) for name in BUILDERS[prefix].names())


def library_of(arch: str) -> Builder:
    """The library that would build an architecture of this name, whether or not it has one."""
    return BUILDERS[max((prefix for prefix in BUILDERS if arch.startswith(prefix)), key=len)]


def builder_for(arch: str) -> Builder:
    """The builder of ``arch``.

    Raises:
        ConfigError: unknown architecture; the message names the nearest ones.
    """
    builder = library_of(arch)
    if not builder.has(arch):
        raise ConfigError(f"unknown architecture {arch!r}", where="zoo.candidates", remedy=_similar(arch))
    return builder


def build_network(arch: str, classes: int, depth: int | None = None, size: int | None = None) -> Network:
    """A network with random weights, cut after block ``depth`` (None: whole), for inputs of ``size``.

    ``size`` None is the architecture's own; only networks with a position for every part of the input mind it.

    Raises:
        ConfigError: unknown architecture (with the nearest names) or no such block.
    """
    from graft.models.backbone import Network, cut

    network = Network(builder_for(arch).build(arch, size), classes)
    return network if depth is None else cut(network, depth, classes)


def check_input_size(arch: str, size: int | None) -> None:
    """Refuse an input size that an architecture cannot take.

    Raises:
        ConfigError: nobody builds ``arch``, or ``size`` pixels are fewer than it can take, or do not divide into
            the patches or partitions it is built of.
    """
    builder = builder_for(arch)
    if size is None or builder.takes(arch, size):
        return
    smallest, step = builder.smallest(arch), builder.step(arch)
    least = -(-smallest // step) * step
    near = max(least, size // step * step)
    multiples = f", and every size is a multiple of {step} px: take {near} or {near + step} px" if step > 1 else ""
    raise ConfigError(
        f"{arch} cannot take images of {size} px",
        where="zoo.candidates: size",
        remedy=f"its least size is {least} px{multiples}",
    )


def size_at_least(arch: str, size: int) -> int:
    """The least input size from ``size`` on that an architecture can take.

    Raises:
        ConfigError: nobody builds ``arch``.
    """
    builder = builder_for(arch)
    if builder.takes(arch, size):
        return size
    step = builder.step(arch)
    return -(-max(size, builder.smallest(arch)) // step) * step


def published_accuracy(candidate: Candidate) -> float | None:
    """Top-1 accuracy that the publisher of the candidate's weights states, 0 to 1; None where nobody states one.

    Raises:
        ConfigError: nobody builds the architecture.
    """
    return builder_for(candidate.arch).published_accuracy(candidate.arch, candidate.weights)


def default_candidates(modality: str, domain: str, size: float) -> tuple[Candidate, ...]:
    """What ``zoo.candidates: auto`` stands for.

    Args:
        modality: the samples'.
        domain: what they are, as the stage ``augment`` found.
        size: their median size; of images the shorter side in pixels.
    """
    ours = [builder for builder in BUILDERS.values() if builder.modality == modality]
    return tuple(candidate for builder in ours for candidate in builder.candidates(domain, size))


def _similar(arch: str) -> str:
    plain = {name.removeprefix(TIMM): name for name in reversed(names())}
    if arch.removeprefix(TIMM) in plain:
        return f"did you mean {plain[arch.removeprefix(TIMM)]!r}?"
    hint = did_you_mean(arch, names())
    return hint if hint.startswith("did") else "`.venv/bin/graft zoo` lists the names"
