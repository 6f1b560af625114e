"""From a decoded image to a network's input: one object feeds training, evaluation and serving."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from graft.images.decode import decode, decode_for
from graft.images.packed import StoredImage

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from PIL import Image

Interpolation = Literal["nearest", "bilinear", "bicubic"]


@dataclass(frozen=True)
class Geometry:
    """How an image of any size becomes a square: what two candidates must share to share decoded images.

    The shorter side is resized to ``size / crop`` pixels, antialiased, and the centre square of ``size`` pixels
    is cut out. ``crop`` is in (0, 1]; 1 keeps the whole shorter side.
    """

    size: int
    crop: float
    interpolation: Interpolation

    @property
    def least_side(self) -> int:
        """The shorter side to which an image is resized, pixels: what its decoder must at least deliver."""
        return round(self.size / self.crop)

    def load(self, image: StoredImage | bytes) -> NDArray[np.uint8]:
        """An image file or its bytes -> uint8 array (size, size, 3): the one road of training, evaluation, serving.

        Raises:
            DataError: it cannot be decoded.
        """
        return self.apply(decode(image, least_side=self.least_side))

    def apply(self, image: Image.Image) -> NDArray[np.uint8]:
        """An RGB image -> uint8 array (size, size, 3)."""
        from PIL import Image

        resampling = {
            "nearest": Image.Resampling.NEAREST,
            "bilinear": Image.Resampling.BILINEAR,
            "bicubic": Image.Resampling.BICUBIC,
        }[self.interpolation]
        short = self.least_side
        scale = short / min(image.size)
        width, height = (max(short, round(side * scale)) for side in image.size)
        if (width, height) != image.size:
            image = image.resize((width, height), resampling)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        # A copy: what Pillow lends is not writable, which torch warns of.
        return np.array(image.crop((left, top, left + self.size, top + self.size)), dtype=np.uint8)


def load_for(image: StoredImage | bytes, geometries: Iterable[Geometry]) -> dict[Geometry, NDArray[np.uint8]]:
    """What :meth:`Geometry.load` gives for each geometry, with no more decoding than they need together."""
    geometries = list(geometries)
    decoded = decode_for(image, (geometry.least_side for geometry in geometries))
    return {geometry: geometry.apply(decoded[geometry.least_side]) for geometry in geometries}


@dataclass(frozen=True)
class Preprocessing:
    """Geometry plus normalisation: ``(x / 255 - mean) / std`` for each of the three channels."""

    geometry: Geometry
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (n, size, size, 3) -> float32 (n, 3, size, size), in channels-last memory."""
        import torch

        mean = torch.tensor(self.mean, device=images.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, 3, 1, 1)
        return (images.permute(0, 3, 1, 2).to(torch.float32) / 255.0 - mean) / std

    def normalise_array(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same without torch, to the bit: uint8 (n, size, size, 3) -> float32 (n, 3, size, size), contiguous.

        A pixel has 256 levels, so each channel is looked up in a table of what its levels become: 0.15 ms at 224 px,
        where computing it takes 0.5 ms.
        """
        out = np.empty((len(images), 3, *images.shape[1:3]), dtype=np.float32)
        for channel, levels in enumerate(self._levels()):
            np.take(levels, images[..., channel], out=out[:, channel], mode="clip")
        return out

    def _levels(self) -> NDArray[np.float32]:
        """What each of the 256 levels becomes, by channel: (3, 256), in float32 as torch computes it."""
        level = np.arange(256, dtype=np.float32) / np.float32(255)
        mean, std = (np.asarray(values, dtype=np.float32)[:, None] for values in (self.mean, self.std))
        return np.asarray((level - mean) / std, dtype=np.float32)
