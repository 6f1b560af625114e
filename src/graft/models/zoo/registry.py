"""The architectures that can be named, their builders, input sizes and published accuracy."""

from __future__ import annotations

import math
from functools import cache

from graft.core.errors import ConfigError, did_you_mean
from graft.core.settings import Candidate
from graft.models.weights.bundled import BUNDLED
from graft.models.zoo.builder import Builder
from graft.models.zoo.timm_builder import TIMM, TimmBuilder
from graft.models.zoo.torchvision_builder import TorchvisionBuilder

TORCHVISION_BUILDER = TorchvisionBuilder()
TIMM_BUILDER = TimmBuilder()


@cache
def names() -> tuple[str, ...]:
    """Every architecture that can be named, torchvision's first."""
    return (*TORCHVISION_BUILDER.names(), *TIMM_BUILDER.names())


def builder_for(arch: str) -> Builder:
    """The builder of ``arch``.

    Raises:
        ConfigError: unknown architecture; the message names the nearest ones.
    """
    builder: Builder = TIMM_BUILDER if arch.startswith(TIMM) else TORCHVISION_BUILDER
    if arch not in builder.names():
        raise ConfigError(f"unknown architecture {arch!r}", where="zoo.candidates", remedy=_similar(arch))
    return builder


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


def published_accuracy(candidate: Candidate) -> float | None:
    """Top-1 accuracy on ImageNet's validation images, 0 to 1, as the publisher of the candidate's weights states it.

    None where nobody published one: for ``source``, ``none`` and files, and for most of timm, which carries none.

    Raises:
        ConfigError: nobody builds the architecture.
    """
    builder_for(candidate.arch)
    if candidate.arch.startswith(TIMM):
        # timm's own weights of these names are the same ones, published once more.
        package = BUNDLED.get(candidate.arch)
        return package.accuracy if package and candidate.weights in {"bundled", "pretrained", "DEFAULT"} else None
    from graft.core.compat.torchvision import models

    published = models.get_model_weights(candidate.arch).__members__
    weights = published.get("DEFAULT" if candidate.weights == "pretrained" else candidate.weights)
    if weights is None:
        return None
    percent = float(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"])
    return None if math.isnan(percent) else percent / 100  # weights of features without a classifier have none


def _similar(arch: str) -> str:
    plain = {name.removeprefix(TIMM): name for name in reversed(names())}
    if arch.removeprefix(TIMM) in plain:
        return f"did you mean {plain[arch.removeprefix(TIMM)]!r}?"
    hint = did_you_mean(arch, names())
    return hint if hint.startswith("did") else "`.venv/bin/graft zoo` lists the names"
