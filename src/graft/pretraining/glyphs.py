"""The built-in source task: characters rendered with the fonts that matplotlib ships, varied like handwriting.

Classes are 0-9, A-Z, a-z. Each image is a character of a random font, turned, slanted and bent (elastic distortion:
P. Simard et al., Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis, 2003), enlarged
to the height of the canvas as scanned characters are, and drawn by a pen of random width. Then it is brought to the
resolution of the built-in digits, which are counts of dark pixels in blocks of a larger bitmap (8 x 8 blocks, 17
levels; E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from graft.core.determinism import torch_generator
from graft.pretraining.source_dataset import GLYPH_CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.ImageFont import FreeTypeFont

CANVAS = 64
SIDE = 8
LEVELS = 16

# Of lengths on the canvas, in its pixels: the ground left around a character, which a pen's half width fills, and the
# width of a pen's stroke. A pixel of the result has 8.
MARGIN = 5
PEN = (6.0, 11.0)
# What is brighter is ink.
_INK = 0.3
# The radii by which strokes are thinned (below 0) or thickened, at most.
_RADII = (-3, 6)

# Fonts of mathematical signs only, of single sizes of brackets, or whose letters are the upright ones again.
_NOT_TEXT = ("Siz", "cmsy", "cmex", "cmmi", "LastResort", "NonUni", "Display")


def fonts() -> list[Path]:
    """matplotlib's text fonts, in a fixed order."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return sorted(path for path in folder.glob("*.ttf") if not any(mark in path.name for mark in _NOT_TEXT))


def render(font_files: list[Path]) -> Tensor:
    """Every character in every font, centred and filling the canvas: float (62, fonts, CANVAS, CANVAS) in [0, 1]."""
    from PIL import ImageFont

    sheets = np.empty((len(GLYPH_CLASSES), len(font_files), CANVAS, CANVAS), dtype=np.uint8)
    for column, file in enumerate(font_files):
        font = ImageFont.truetype(str(file), CANVAS)
        for row, character in enumerate(GLYPH_CLASSES):
            sheets[row, column] = _centred(character, font)
    return torch.from_numpy(sheets).float() / 255.0


def _centred(character: str, font: FreeTypeFont) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox((0, 0), character, font=font)
    width, height = right - left, bottom - top
    side = int(max(width, height)) + 8
    image = Image.new("L", (side, side))
    corner = ((side - width) / 2 - left, (side - height) / 2 - top)
    ImageDraw.Draw(image).text(corner, character, 255, font=font)
    return np.asarray(image.resize((CANVAS, CANVAS)), dtype=np.uint8)


def glyphs(per_class: int, seed: int, *names: object) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Render the source task.

    Args:
        per_class: images for each of the 62 classes.
        seed: the project's seed.
        names: tell sets apart, such as ``"train"`` and ``"test"``.

    Returns:
        Images uint8 (62 * per_class, 8, 8), white on black, and class indices.
    """
    generator = torch_generator(seed, "glyphs", *names)
    sheets = render(fonts())
    labels = torch.arange(len(GLYPH_CLASSES)).repeat_interleave(per_class)
    images = [_vary(sheets, part, generator) for part in torch.split(labels, 2048)]
    return torch.cat(images).numpy(), labels.numpy()


def _vary(sheets: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    count = len(labels)
    which = torch.randint(sheets.shape[1], (count,), generator=generator)
    x = sheets[labels, which][:, None]
    grid = F.affine_grid(_affine(count, generator), [count, 1, CANVAS, CANVAS], align_corners=False)
    x = F.grid_sample(x, grid + _bent(count, generator), align_corners=False)
    x = draw_by_pen(enlarge(x, generator), generator)
    blocks = F.avg_pool2d(x, CANVAS // SIDE)
    contrast = _uniform((count, 1, 1, 1), 0.85, 1.1, generator)
    noise = 0.02 * torch.randn(blocks.shape, generator=generator)
    levels = ((blocks * contrast + noise).clamp(0, 1) * LEVELS).round() / LEVELS
    return (levels[:, 0] * 255).round().to(torch.uint8)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low


def _affine(count: int, generator: torch.Generator) -> Tensor:
    """Random rotation (15 degrees) and shear, small enough to stay inside: (count, 2, 3), from output to input."""
    angle = _uniform((count,), -math.pi / 12, math.pi / 12, generator)
    shear, still = _uniform((count,), -0.3, 0.3, generator), torch.zeros(count)
    first = torch.stack([angle.cos(), shear - angle.sin(), still], dim=1)
    second = torch.stack([angle.sin(), angle.cos(), still], dim=1)
    return 1.2 * torch.stack([first, second], dim=1)


def _bent(count: int, generator: torch.Generator) -> Tensor:
    """Smooth random displacements by about 4% of the side, (count, CANVAS, CANVAS, 2), in the units of a grid."""
    coarse = 0.08 * torch.randn((count, 2, 4, 4), generator=generator)
    return F.interpolate(coarse, size=(CANVAS, CANVAS), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)


def enlarge(x: Tensor, generator: torch.Generator) -> Tensor:
    """Every character as high as the canvas but for the margin, its width varied and its place shifted a little."""
    ink, inner = x[:, 0] > _INK, CANVAS - 2.0 * MARGIN
    left, width = _extent(ink.any(dim=1))
    top, height = _extent(ink.any(dim=2))
    wide = (width * inner / height * _uniform((len(x),), 0.6, 1.25, generator)).clamp(max=inner)
    across, down, still = width / wide, height / inner, torch.zeros(len(x))
    shift = across * _uniform((len(x),), -0.06, 0.06, generator)
    first = torch.stack([across, still, (2 * left + width) / CANVAS - 1 + shift], dim=1)
    second = torch.stack([still, down, (2 * top + height) / CANVAS - 1], dim=1)
    grid = F.affine_grid(torch.stack([first, second], dim=1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def _extent(inked: Tensor) -> tuple[Tensor, Tensor]:
    """The first place that is inked, and how many from there to the last: bool (n, CANVAS) -> two of (n), in pixels."""
    places = torch.arange(CANVAS)
    first = torch.where(inked, places, CANVAS).amin(dim=1)
    last = torch.where(inked, places, -1).amax(dim=1)
    return first.float(), (last + 1 - first).clamp(min=2).float()


def draw_by_pen(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw every character with a stroke of a random width, whatever its font's."""
    rim = (x + F.max_pool2d(-x, 3, 1, 1)).sum(dim=(1, 2, 3)).clamp(min=1)
    width = 2 * x.sum(dim=(1, 2, 3)) / rim  # of a long stroke the rim, a pixel on either side, is 2 / width
    wanted = _uniform((len(x),), *PEN, generator)
    radii = ((wanted - width) / 2).round().clamp(*_RADII).long()
    drawn = x.clone()
    for radius in torch.unique(radii).tolist():
        own, side = radii == radius, 2 * abs(radius) + 1
        if radius > 0:
            drawn[own] = F.max_pool2d(x[own], side, 1, radius)
        elif radius < 0:
            drawn[own] = -F.max_pool2d(-x[own], side, 1, -radius)
    return drawn
