"""The interface of a library that architectures come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from graft.core.errors import WeightsError
from graft.modalities.image.preprocessing import Geometry, Interpolation
from graft.modalities.preprocessor import Preprocessor

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from graft.core.settings import Candidate
    from graft.models.backbone import BackboneParts


class Builder(Protocol):
    """A library that architectures come from.

    Attributes:
        modality: what its networks take, the name of a :class:`graft.modalities.base.Modality`.
        unit: of the size of their inputs.
    """

    modality: str
    unit: str

    def names(self) -> list[str]:
        """Every architecture's name, as it is written in params.yaml."""

    def has(self, arch: str) -> bool:
        """Whether there is an architecture of this name."""
        return arch in self.names()

    def model(self, arch: str, size: int | None = None) -> Any:
        """The library's model with random weights, for inputs of ``size`` (None: its own)."""

    def translate(self, arch: str, model: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert a published state dict to the names and shapes of ``model``."""

    def head(self, arch: str, model: Any) -> frozenset[str]:
        """Names of the tensors of the model's own head."""

    def parts(self, arch: str, model: Any, size: int | None = None) -> BackboneParts:
        """Split the model into blocks, neck and head, for inputs of ``size``."""

    def build(self, arch: str, size: int | None = None) -> BackboneParts:
        """Build with random weights and take apart."""
        return self.parts(arch, self.model(arch, size), size)

    def preprocessing(self, arch: str, size: int | None, weights: str = "DEFAULT") -> Preprocessor:
        """The preprocessing of the architecture's published ``weights``; ``size`` replaces theirs.

        Weights that were not published under that name are taken to need what the default ones need.
        """

    def takes(self, arch: str, size: int) -> bool:
        """Whether the architecture can be built for inputs of ``size`` and take them."""

    def smallest(self, arch: str) -> int:
        """Least size of the input, in the preprocessor's unit."""

    def step(self, arch: str) -> int:
        """The size of the input is a multiple of this."""

    def candidates(self, domain: str, size: float) -> Sequence[Candidate]:
        """What ``zoo.candidates: auto`` stands for, available offline; none where another library has better ones.

        Args:
            domain: what the samples are, as the stage ``augment`` found.
            size: their median size; of images the shorter side in pixels.
        """
        return ()

    def published_accuracy(self, arch: str, weights: str) -> float | None:
        """Top-1 accuracy of published weights, 0 to 1, as their publisher states it; None where there is none."""
        return None

    def published_file(self, arch: str, weights: str, may_download: bool) -> Path:
        """The file of published weights of a name, such as ``DEFAULT``. Raises WeightsError."""
        raise WeightsError(
            f"nobody publishes weights named {weights!r} for {arch}",
            where=f"zoo.candidates: {arch}",
            remedy="name a .safetensors or .pth file, or write `none`",
        )


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
