"""The interface of a library that architectures come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from graft.models.backbone import BackboneParts
from graft.models.preprocessing import Geometry, Interpolation, Preprocessing

if TYPE_CHECKING:
    from torch import Tensor


class Builder(Protocol):
    """A library that architectures come from."""

    def names(self) -> list[str]:
        """Every architecture's name, as it is written in params.yaml."""

    def model(self, arch: str, size: int | None = None) -> Any:
        """The library's model with random weights, for images of ``size`` px (None: its own size)."""

    def translate(self, arch: str, model: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert a published state dict to the names and shapes of ``model``."""

    def head(self, arch: str, model: Any) -> frozenset[str]:
        """Names of the tensors of the model's own head."""

    def parts(self, arch: str, model: Any, size: int | None = None) -> BackboneParts:
        """Split the model into blocks, neck and head, for images of ``size`` px."""

    def build(self, arch: str, size: int | None = None) -> BackboneParts:
        """Build with random weights and take apart."""

    def preprocessing(self, arch: str, size: int | None, weights: str = "DEFAULT") -> Preprocessing:
        """The preprocessing of the architecture's published ``weights``; ``size`` replaces theirs.

        Weights that were not published under that name are taken to need what the default ones need.
        """

    def takes(self, arch: str, size: int) -> bool:
        """Whether the architecture can be built for images of ``size`` px and take them."""

    def smallest(self, arch: str) -> int:
        """Least side of the input in pixels."""

    def step(self, arch: str) -> int:
        """The side of the input is a multiple of this many pixels."""


def geometry_for(size: int | None, own_size: int, own_crop: float, interpolation: str) -> Geometry:
    """The published geometry, or one of the given ``size``.

    A size of one's own keeps the whole shorter side: the published centre crop belongs to photographs at the
    published size, and would cut into small images such as characters.
    """
    kinds: dict[str, Interpolation] = {"nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic"}
    kind = kinds.get(interpolation, "bicubic")
    return Geometry(size=own_size, crop=own_crop, interpolation=kind) if size is None else Geometry(size, 1.0, kind)


def rgb_triple(values: Iterable[float]) -> tuple[float, float, float]:
    """Three floats: red, green, blue."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue
