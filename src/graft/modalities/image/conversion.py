"""How images become network inputs, as far as that follows from all of them: which fits are worth trying, which numbers
of deep images become black and white, and what is lost by that.

All of it is asked of the manifest's rows (width, height, depth_low, depth_high).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from graft.modalities.image.colour import FULL_DEPTH, DepthRange

if TYPE_CHECKING:
    import pandas as pd

    from graft.core.settings import DepthScaling, FitChoice

Fit = Literal["crop", "pad", "squash"]

# Share of its pixels that an image of 16:9 loses to the centre square is 0.44, one of 2:1 loses 0.5.
ELONGATED = 0.45


def cut_away(rows: pd.DataFrame) -> pd.Series:
    """The share of each image that its centre square does not show, 0 to 1."""
    sides = rows[["width", "height"]].astype("float64")
    return 1 - sides.min(axis=1) / sides.max(axis=1)


def usual_cut(rows: pd.DataFrame) -> float:
    """The share that at least a quarter of the images lose to the centre square: its upper quartile."""
    shares = cut_away(rows).dropna()
    return float(shares.quantile(0.75)) if len(shares) else 0.0


def fits_to_try(choice: FitChoice, cut: float) -> tuple[Fit, ...]:
    """The fits that cross-validation compares, where :func:`usual_cut` is ``cut``.

    ``auto`` tries more than ``crop`` only where a quarter of the images lose nearly half: each fit costs a pass of
    every network over all images, and of ordinary photographs the centre is as good as the whole.
    """
    if choice != "auto":
        return (choice,)
    return ("crop", "pad", "squash") if cut > ELONGATED else ("crop",)


def depth_range(rows: pd.DataFrame, scaling: DepthScaling) -> DepthRange | None:
    """What becomes black and white of images of more than 8 bits; None: of each its least and its largest number.

    ``dataset`` takes the least and the largest of all ``rows``, which are to be training images only.
    """
    if scaling != "dataset":
        return None if scaling == "file" else FULL_DEPTH
    low, high = rows["depth_low"].min(), rows["depth_high"].max()
    return (float(low), float(high)) if low < high else FULL_DEPTH


def range_used(rows: pd.DataFrame, scaling: Literal["fixed", "dataset"]) -> pd.Series:
    """The share of the 256 grey levels that each image of more than 8 bits can use, 0 to 1; missing for others."""
    low, high = depth_range(rows, scaling) or FULL_DEPTH
    used = (rows["depth_high"] - rows["depth_low"]) / (high - low)
    return used.clip(upper=1.0)
