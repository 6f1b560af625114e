"""Which architectures can be named, who builds them, and the preprocessing that each comes with."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from graft.errors import ConfigError, did_you_mean
from graft.zoo.network import Parts
from graft.zoo.preprocessing import Geometry, Interpolation, Preprocessing

TIMM = "timm:"


class Builder(Protocol):
    """A library that architectures come from."""

    def names(self) -> list[str]:
        """Every architecture's name, as it is written in params.yaml."""

    def model(self, arch: str) -> Any:
        """The library's own model with random weights, whole."""

    def parts(self, arch: str, model: Any) -> Parts:
        """Take that model apart."""

    def build(self, arch: str) -> Parts:
        """Build with random weights and take apart."""

    def preprocessing(self, arch: str, size: int | None) -> Preprocessing:
        """The preprocessing of the architecture's published weights; ``size`` replaces theirs."""

    def smallest(self, arch: str) -> int:
        """Least side of the input in pixels."""


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

    def model(self, arch: str) -> Any:
        """The model with random weights and its own head of 1,000 classes."""
        from graft.vision import models

        return models.get_model(arch, weights=None)

    def parts(self, arch: str, model: Any) -> Parts:
        """Take the model apart by the family's row."""
        from graft.zoo.torchvision_families import family_row

        row = family_row(arch)
        assert row is not None, "names() lists only builders that have a family"
        return row.take_apart(model)

    def build(self, arch: str) -> Parts:
        """Build and take apart."""
        return self.parts(arch, self.model(arch))

    def preprocessing(self, arch: str, size: int | None) -> Preprocessing:
        """From the metadata of the builder's default weights."""
        from graft.vision import models

        preset = models.get_model_weights(arch).DEFAULT.transforms()
        own = preset.crop_size[0]
        geometry = _geometry(size, own, own / preset.resize_size[0], preset.interpolation.value)
        return Preprocessing(geometry, _three(preset.mean), _three(preset.std))

    def smallest(self, arch: str) -> int:
        """From the family's row."""
        from graft.zoo.torchvision_families import family_row

        row = family_row(arch)
        return row.smallest if row is not None else 1


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

    def model(self, arch: str) -> Any:
        """The model with random weights and its own head."""
        return _timm().create_model(arch.removeprefix(TIMM), pretrained=False)

    def parts(self, arch: str, model: Any) -> Parts:
        """Take the model apart by its class."""
        from graft.zoo.timm_families import take_apart

        return take_apart(model)

    def build(self, arch: str) -> Parts:
        """Build and take apart."""
        return self.parts(arch, self.model(arch))

    def preprocessing(self, arch: str, size: int | None) -> Preprocessing:
        """From timm's pretrained configuration."""
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
        ConfigError: nobody builds ``arch``, or ``size`` pixels are fewer than it can take.
    """
    smallest = family_of(arch).smallest(arch)
    if size is not None and size < smallest:
        raise ConfigError(
            f"{arch} cannot take images of {size} px",
            where="zoo.candidates: size",
            remedy=f"its least size is {smallest} px",
        )


def _similar(arch: str) -> str:
    plain = {name.removeprefix(TIMM): name for name in reversed(names())}
    if arch.removeprefix(TIMM) in plain:
        return f"did you mean {plain[arch.removeprefix(TIMM)]!r}?"
    hint = did_you_mean(arch, names())
    return hint if hint.startswith("did") else "`.venv/bin/graft zoo` lists the names"
