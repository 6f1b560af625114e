"""A preview image of augmentation: a row per image, the original first, then augmented variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from graft.augmentation.policies import Policy, augment_batch
from graft.core.determinism import derive_seed
from graft.core.files import atomic_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

CELL = 128
GAP = 8
LINE = 15
# A smaller share of a class than this is not worth a caption: its part of the image cannot be seen.
LEAST_SHARE = 0.005


@dataclass(frozen=True)
class Cell:
    """A picture of the sheet, uint8 (size, size, 3), and the lines below it."""

    picture: Picture
    caption: tuple[str, ...] = ()


def preview_sheet(
    path: Path,
    title: str,
    policy: Policy,
    originals: Mapping[str, Sequence[Picture]],
    labels: Sequence[str],
    seed: int,
    variants: int = 6,
) -> None:
    """Write the sheet as a PNG.

    Where the policy mixes batches, each column of variants is a batch, and below every variant stands which classes it
    shows in which shares: those that training sees as its label.

    Args:
        path: where to.
        title: the line at the top.
        policy: from :func:`graft.augmentation.policy_config.build_policy`.
        originals: what is shown of each image, by the column's heading: uint8 (size, size, 3) each, all of one size.
            The variants are of the last column.
        labels: the class of each image.
        seed: the project's seed.
        variants: how many variants stand next to each original.
    """
    columns = [[Cell(image) for image in images] for images in originals.values()]
    images = list(originals.values())[-1]
    columns += [_column(policy, images, labels, seed, variant) for variant in range(variants)]
    rows = list(zip(*columns, strict=True))
    with atomic_file(path) as beside:
        _draw(rows, labels, title, list(originals)).save(beside, format="PNG")


def _column(policy: Policy, images: Sequence[Picture], labels: Sequence[str], seed: int, variant: int) -> list[Cell]:
    """One variant of every image."""
    if not policy.changes_anything:
        return [Cell(image) for image in images]
    import torch

    seeds = [derive_seed(seed, "preview", number, variant) for number in range(len(images))]
    varied = augment_batch(policy, torch.from_numpy(np.stack(images)), seeds)
    if policy.mixing is None:
        return [Cell(picture) for picture in varied.numpy()]
    classes = sorted(set(labels))
    indices = torch.tensor([classes.index(label) for label in labels])
    floats = varied.permute(0, 3, 1, 2).float()
    mixed, shares = policy.mixing.mix(floats, indices, len(classes), derive_seed(seed, "preview mix", variant))
    pictures = mixed.permute(0, 2, 3, 1).round().clamp(0, 255).to(torch.uint8).numpy()
    captions = [
        _caption(dict(zip(classes, row, strict=True)), own) for row, own in zip(shares.tolist(), labels, strict=True)
    ]
    return [Cell(picture, caption) for picture, caption in zip(pictures, captions, strict=True)]


def _caption(shares: dict[str, float], own: str) -> tuple[str, ...]:
    """``ants: 70%``, a line for each class that is there: the row's own first, even where little of it is left."""
    told = [own, *sorted(name for name, share in shares.items() if name != own and share >= LEAST_SHARE)]
    return tuple(f"{_short(name, 10)}: {shares[name]:.0%}" for name in told)


def _draw(rows: Sequence[Sequence[Cell]], labels: Sequence[str], title: str, headings: Sequence[str]) -> Image.Image:
    left, top = 132, 64
    width = left + len(rows[0]) * (CELL + GAP)
    lines = max(len(cell.caption) for row in rows for cell in row)
    height = CELL + GAP + lines * LINE + (GAP if lines else 0)
    wrapped = _wrapped(title, width - 2 * GAP)
    top += (len(wrapped) - 1) * 22
    sheet = Image.new("RGB", (width, top + len(rows) * height), "white")
    pen, font = ImageDraw.Draw(sheet), _font(15)
    pen.multiline_text((GAP, 10), "\n".join(wrapped), fill="black", font=_font(17))
    for column, heading in enumerate([*headings, "variants"]):
        pen.text((left + column * (CELL + GAP), top - 24), heading, fill="#555", font=font)
    for row, (cells, label) in enumerate(zip(rows, labels, strict=True)):
        y = top + row * height
        pen.text((GAP, y + CELL // 2 - 10), _short(label), fill="black", font=font)
        for column, cell in enumerate(cells):
            x = left + column * (CELL + GAP)
            sheet.paste(Image.fromarray(cell.picture).resize((CELL, CELL), Image.Resampling.NEAREST), (x, y))
            pen.multiline_text((x, y + CELL), "\n".join(cell.caption), fill="#333", font=_font(12), spacing=1)
    return sheet


def _wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most ``width`` pixels, broken between words."""
    lines, font = [""], _font(17)
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _font(size: int) -> ImageFont.FreeTypeFont:
    """matplotlib's DejaVu Sans: installed with graft, and it has the letters of most languages."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _short(label: str, most: int = 15) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"
