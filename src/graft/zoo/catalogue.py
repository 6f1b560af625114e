"""Which architectures can be named, who builds them, and the preprocessing that each comes with."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from graft.errors import ConfigError, did_you_mean
from graft.settings import Candidate
from graft.zoo.bundled import BUNDLED
from graft.zoo.network import Parts
from graft.zoo.preprocessing import Geometry, Interpolation, Preprocessing

if TYPE_CHECKING:
    from torch import Tensor

    from graft.zoo.torchvision_families import Family

TIMM = "timm:"


class Builder(Protocol):
    """A library that architectures come from."""

    def names(self) -> list[str]:
        """Every architecture's name, as it is written in params.yaml."""

    def model(self, arch: str, size: int | None = None) -> Any:
        """The library's own model with random weights, whole, for images of ``size`` px (None: its own size)."""

    def translate(self, arch: str, model: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state dict as published -> the names and shapes of ``model``, as far as they mean the same."""

    def parts(self, arch: str, model: Any) -> Parts:
        """Take that model apart."""

    def build(self, arch: str, size: int | None = None) -> Parts:
        """Build with random weights and take apart."""

    def preprocessing(self, arch: str, size: int | None, weights: str = "DEFAULT") -> Preprocessing:
        """The preprocessing of the architecture's published ``weights``; ``size`` replaces theirs.

        Weights that were not published under that name are taken to need what the default ones need.
        """

    def smallest(self, arch: str) -> int:
        """Least side of the input in pixels."""

    def step(self, arch: str) -> int:
        """The side of the input is a multiple of this many pixels."""


def _geometry(size: int | None, own_size: int, own_crop: float, interpolation: str) -> Geometry:
    # A size of one's own keeps the whole shorter side: the published centre crop belongs to photographs at the
    # published size, and would cut into small images such as characters.
    kinds: dict[str, Interpolation] = {"nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic"}
    kind = kinds.get(interpolation, "bicubic")
    return Geometry(size=own_size, crop=own_crop, interpolation=kind) if size is None else Geometry(size, 1.0, kind)


def _three(values: Iterable[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


@dataclass(frozen=True)
class TorchvisionBuilder:
    """torchvision's classification builders that belong to a family of the table."""

    def names(self) -> list[str]:
        """Builders of classifiers; those of quantized, video, detection and segmentation models are others."""
        from graft.vision import models
        from graft.zoo.torchvision_families import family_row

        return [name for name in models.list_models(module=models) if family_row(name) is not None]

    def model(self, arch: str, size: int | None = None) -> Any:
        """The model with random weights and its own head of 1,000 classes, without auxiliary heads."""
        from graft.vision import models

        own = size or self.preprocessing(arch, None).geometry.size
        return models.get_model(arch, weights=None, **_row(arch).options(own))

    def translate(self, arch: str, model: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """By the family's row."""
        return _row(arch).translate(model, dict(state))

    def parts(self, arch: str, model: Any) -> Parts:
        """Take the model apart by the family's row."""
        return _row(arch).take_apart(model)

    def build(self, arch: str, size: int | None = None) -> Parts:
        """Build and take apart."""
        return self.parts(arch, self.model(arch, size))

    def preprocessing(self, arch: str, size: int | None, weights: str = "DEFAULT") -> Preprocessing:
        """From the metadata of the weights, and the family's row where the network itself would normalise again."""
        from graft.vision import models

        published = models.get_model_weights(arch).__members__
        preset = published.get(weights, published["DEFAULT"]).transforms()
        own = preset.crop_size[0]
        geometry = _geometry(size, own, own / preset.resize_size[0], preset.interpolation.value)
        mean, std = _row(arch).normalisation or (_three(preset.mean), _three(preset.std))
        return Preprocessing(geometry, mean, std)

    def smallest(self, arch: str) -> int:
        """From the family's row."""
        return _row(arch).smallest

    def step(self, arch: str) -> int:
        """From the family's row."""
        return _row(arch).step(arch)


def _row(arch: str) -> Family:
    from graft.zoo.torchvision_families import family_row

    row = family_row(arch)
    assert row is not None, "names() lists only builders that have a family"
    return row


def _timm() -> Any:
    """timm; it imports torchvision, so the guard comes first."""
    importlib.import_module("graft.vision")
    return importlib.import_module("timm")


def timm_config(arch: str) -> Any:
    """timm's pretrained configuration of ``timm:<name>`` (size, mean, std, licence, where its weights are), or None."""
    return _timm().models.get_pretrained_cfg(arch.removeprefix(TIMM))


@dataclass(frozen=True)
class TimmBuilder:
    """Every architecture of timm, named ``timm:<name>``."""

    def names(self) -> list[str]:
        """All registered names, prefixed."""
        return [TIMM + name for name in _timm().list_models()]

    def model(self, arch: str, size: int | None = None) -> Any:
        """The model with random weights and its own head; its size stays its own."""
        return _timm().create_model(arch.removeprefix(TIMM), pretrained=False)

    def translate(self, arch: str, model: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """timm publishes its weights under the names it uses."""
        return dict(state)

    def parts(self, arch: str, model: Any) -> Parts:
        """Take the model apart by its class."""
        from graft.zoo.timm_families import take_apart

        return take_apart(model)

    def build(self, arch: str, size: int | None = None) -> Parts:
        """Build and take apart."""
        return self.parts(arch, self.model(arch, size))

    def preprocessing(self, arch: str, size: int | None, weights: str = "DEFAULT") -> Preprocessing:
        """From timm's pretrained configuration; one name stands for one set of weights there."""
        found = timm_config(arch)
        if found is None:
            raise ConfigError(
                f"timm tells no preprocessing for {arch!r}",
                where="zoo.candidates",
                remedy="take an architecture with published weights",
            )
        geometry = _geometry(size, found.input_size[1], found.crop_pct or 1.0, found.interpolation)
        return Preprocessing(geometry, _three(found.mean), _three(found.std))

    def smallest(self, arch: str) -> int:
        """timm tells no least size; 32 px is the total stride of most of its networks."""
        return 32

    def step(self, arch: str) -> int:
        """timm tells none."""
        return 1


TORCHVISION_BUILDER = TorchvisionBuilder()
TIMM_BUILDER = TimmBuilder()


@cache
def names() -> tuple[str, ...]:
    """Every architecture that can be named, torchvision's first."""
    return (*TORCHVISION_BUILDER.names(), *TIMM_BUILDER.names())


def family_of(arch: str) -> Builder:
    """Who builds ``arch``.

    Raises:
        ConfigError: nobody does; the message names the nearest architectures.
    """
    builder: Builder = TIMM_BUILDER if arch.startswith(TIMM) else TORCHVISION_BUILDER
    if arch not in builder.names():
        raise ConfigError(f"unknown architecture {arch!r}", where="zoo.candidates", remedy=_similar(arch))
    return builder


def require_size(arch: str, size: int | None) -> None:
    """Refuse a side of the input that an architecture cannot take, before any work is done.

    Raises:
        ConfigError: nobody builds ``arch``, or ``size`` pixels are fewer than it can take, or do not divide into
            the patches or partitions it is built of.
    """
    builder = family_of(arch)
    smallest, step = builder.smallest(arch), builder.step(arch)
    if size is None or (size >= smallest and size % step == 0):
        return
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
    family_of(candidate.arch)
    if candidate.arch.startswith(TIMM):
        # timm's own weights of these names are the same ones, published once more.
        package = BUNDLED.get(candidate.arch)
        return package.accuracy if package and candidate.weights in {"bundled", "pretrained", "DEFAULT"} else None
    from graft.vision import models

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
