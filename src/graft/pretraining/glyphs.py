"""The built-in source task: characters rendered with the fonts that matplotlib ships, varied like handwriting.

Classes are 0-9, A-Z, a-z. Each image is a character of a random font through a random affine map, a thicker or
thinner stroke, blur, and noise; then it is brought to the resolution of the built-in digits, which are counts of
dark pixels in blocks of a larger bitmap (8 x 8 blocks, 17 levels; E. Alpaydin and C. Kaynak, Optical Recognition
of Handwritten Digits, UCI Machine Learning Repository, 1998).
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
    x = _stroke(F.grid_sample(x, grid, align_corners=False), generator)
    x = _blur(x, generator)
    blocks = F.avg_pool2d(x, CANVAS // SIDE)
    contrast = _uniform((count, 1, 1, 1), 0.85, 1.15, generator)
    noise = 0.04 * torch.randn(blocks.shape, generator=generator)
    levels = ((blocks * contrast + noise).clamp(0, 1) * LEVELS).round() / LEVELS
    return (levels[:, 0] * 255).round().to(torch.uint8)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low


def _affine(count: int, generator: torch.Generator) -> Tensor:
    """Random rotation (15 degrees), width, height, shear and shift: (count, 2, 3), from output to input."""

    def some(low: float, high: float) -> Tensor:
        return _uniform((count,), low, high, generator)

    angle, shear = some(-math.pi / 12, math.pi / 12), some(-0.3, 0.3)
    wide, high = some(0.9, 1.5), some(0.9, 1.15)
    across, down = some(-0.1, 0.1), some(-0.08, 0.08)
    first = torch.stack([angle.cos() * wide, shear - angle.sin() * wide, across], dim=1)
    second = torch.stack([angle.sin() * high, angle.cos() * high, down], dim=1)
    return torch.stack([first, second], dim=1)


def _stroke(x: Tensor, generator: torch.Generator) -> Tensor:
    """A third thicker, a fifth thinner, the rest as it is."""
    chance = torch.rand((len(x), 1, 1, 1), generator=generator)
    thick, thin = F.max_pool2d(x, 5, 1, 2), -F.max_pool2d(-x, 3, 1, 1)
    return torch.where(chance < 0.35, thick, torch.where(chance > 0.8, thin, x))


def _blur(x: Tensor, generator: torch.Generator) -> Tensor:
    share = torch.rand((len(x), 1, 1, 1), generator=generator)
    return share * F.avg_pool2d(x, 5, 1, 2) + (1 - share) * x
