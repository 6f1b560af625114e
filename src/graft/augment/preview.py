"""A sheet that shows what a policy does: a row per image, the original first, then variants of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from graft.augment.policies import Policy, augment_batch
from graft.determinism import derive_seed
from graft.files import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELL = 128
GAP = 8


def preview_sheet(
    path: Path,
    title: str,
    policy: Policy,
    images: Sequence[NDArray[np.uint8]],
    labels: Sequence[str],
    seed: int,
    variants: int = 6,
) -> None:
    """Write the sheet as a PNG.

    Args:
        path: where to.
        title: the line at the top.
        policy: from :func:`graft.augment.policies.build_policy`.
        images: uint8 (size, size, 3) each, all of one size.
        labels: the class of each image.
        seed: the project's seed.
        variants: how many variants stand next to each original.
    """
    import torch

    rows = []
    for number, image in enumerate(images):
        copies = torch.from_numpy(np.stack([image] * variants))
        seeds = [derive_seed(seed, "preview", number, variant) for variant in range(variants)]
        rows.append([image, *augment_batch(policy, copies, seeds).numpy()])
    with whole_file(path) as beside:
        _draw(rows, labels, title).save(beside, format="PNG")


def _draw(rows: Sequence[Sequence[NDArray[np.uint8]]], labels: Sequence[str], title: str) -> Image.Image:
    left, top = 132, 64
    width = left + len(rows[0]) * (CELL + GAP)
    sheet = Image.new("RGB", (width, top + len(rows) * (CELL + GAP)), "white")
    pen, font = ImageDraw.Draw(sheet), _font(15)
    pen.text((GAP, 10), title, fill="black", font=_font(17))
    pen.text((left, 40), "original", fill="#555", font=font)
    pen.text((left + CELL + GAP, 40), "variants", fill="#555", font=font)
    for row, (cells, label) in enumerate(zip(rows, labels, strict=True)):
        y = top + row * (CELL + GAP)
        pen.text((GAP, y + CELL // 2 - 10), _short(label), fill="black", font=font)
        for column, cell in enumerate(cells):
            picture = Image.fromarray(cell).resize((CELL, CELL), Image.Resampling.NEAREST)
            sheet.paste(picture, (left + column * (CELL + GAP), y))
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont:
    """matplotlib's DejaVu Sans: installed with graft, and it has the letters of most languages."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _short(label: str, most: int = 15) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"
