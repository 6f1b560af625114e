"""What a library that architectures come from must be able to say and do, whichever it is."""

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
        """The library's own model with random weights, whole, for images of ``size`` px (None: its own size)."""

    def translate(self, arch: str, model: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state dict as published -> the names and shapes of ``model``, as far as they mean the same."""

    def head(self, arch: str, model: Any) -> frozenset[str]:
        """The names of that model's tensors that belong to its own head, and not to any task of ours."""

    def parts(self, arch: str, model: Any, size: int | None = None) -> BackboneParts:
        """Take that model apart, for images of the ``size`` it was built for."""

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
    """The published geometry, or that of a ``size`` of one's own.

    A size of one's own keeps the whole shorter side: the published centre crop belongs to photographs at the
    published size, and would cut into small images such as characters.
    """
    kinds: dict[str, Interpolation] = {"nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic"}
    kind = kinds.get(interpolation, "bicubic")
    return Geometry(size=own_size, crop=own_crop, interpolation=kind) if size is None else Geometry(size, 1.0, kind)


def rgb_triple(values: Iterable[float]) -> tuple[float, float, float]:
    """One value for each of red, green and blue."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue
