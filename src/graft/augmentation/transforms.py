"""The transforms that policies are made of, and how far each changes an image.

What a step changes and by how much comes from the numbers it is built with, so that a domain's limits
(:mod:`graft.augmentation.domains`) are held against what is really done. Transforms are torchvision's v2, for uint8
images (..., 3, size, size). They draw from torch's global generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

# Grey, where a photograph has moved out of its frame: neither as dark nor as bright as an object may be.
GREY = 128

# How much larger than the network's input images are kept where they are cropped first. A crop of 0.44 of the area is
# then taken as it is; smaller ones are enlarged.
ENLARGEMENT = 1.5

# Kinds of change and, for people, what a policy does that makes them; {} takes the amount, whose unit is said.
CHANGES = {
    "mirror": "mirrors {:.0%} of the images",
    "rotation": "turns by up to {:.3g} degrees",
    "shear": "slants by up to {:.3g} degrees",
    "shift": "shifts by up to {:.0%} of the side",
    "scale": "enlarges or shrinks by up to {:.0%}",
    "crop": "cuts away up to {:.0%} of the area",
    "brightness": "changes brightness and contrast by up to {:.0%}",
    "saturation": "changes saturation by up to {:.0%}",
    "hue": "turns hues by up to {:.0%} of the colour circle",
    "tones": "inverts, merges or equalises tones",
    "blur": "blurs with a deviation of up to {:.2%} of the side",
    "overlay": "lays another image over each",
    "paste": "pastes a part of another image into each",
}


@dataclass(frozen=True)
class TransformStep:
    """Transforms, and the largest amount of each kind of change they make.

    Attributes:
        changes: kind of change (a key of :data:`CHANGES`) -> largest amount, in that kind's unit.
        transforms: torchvision's v2 module and the side in pixels -> transforms, in order.
    """

    changes: Mapping[str, float]
    transforms: Callable[[Any, int], list[Any]]


def mirror(chance: float) -> TransformStep:
    """Horizontal flip with probability ``chance``."""
    return TransformStep({"mirror": chance}, lambda v2, size: [v2.RandomHorizontalFlip(chance)] if chance else [])


def crop(most: float, stretch: float) -> TransformStep:
    """Random resized crop that keeps at least ``1 - most`` of the area, with an aspect ratio up to ``stretch``."""

    def transforms(v2: Any, size: int) -> list[Any]:
        ratio = (1 / stretch, stretch)
        return [v2.RandomResizedCrop(size, scale=(1 - most, 1.0), ratio=ratio, antialias=True)] if most else []

    return TransformStep({"crop": most}, transforms)


def colour(brightness: float, saturation: float, hue: float) -> TransformStep:
    """Colour jitter: brightness and contrast (both ``brightness``), saturation, hue (share of the colour circle)."""

    def transforms(v2: Any, size: int) -> list[Any]:
        return [v2.ColorJitter(brightness=brightness, contrast=brightness, saturation=saturation, hue=hue)]

    return TransformStep({"brightness": brightness, "saturation": saturation, "hue": hue}, transforms)


@dataclass(frozen=True)
class AffineRange:
    """Largest rotation and shear (degrees), shift (share of the side) and scale change of a random affine map."""

    rotation: float
    shift: float
    scale: float
    shear: float

    def transform(self, v2: Any, enlarged: float, fill: int) -> Any:
        """For images ``enlarged`` times as wide as those that shifts are a share of; ``fill`` is a grey level."""
        return v2.RandomAffine(
            degrees=self.rotation,
            translate=(self.shift / enlarged, self.shift / enlarged),
            scale=(1 - self.scale, 1 + self.scale),
            shear=self.shear,
            interpolation=_bilinear(v2),
            fill=fill,
        )


def affine_on_black(move: AffineRange) -> TransformStep:
    """Random affine map, filled with black."""
    return TransformStep(asdict(move), lambda v2, size: [move.transform(v2, 1.0, 0)])


def affine_mirrored(move: AffineRange) -> TransformStep:
    """Random affine map of the image padded by reflection, so that no corners are filled."""

    def transforms(v2: Any, size: int) -> list[Any]:
        border = size // 2
        moved = move.transform(v2, (size + 2 * border) / size, GREY)
        return [v2.Pad(border, padding_mode="reflect"), moved, v2.CenterCrop(size)]

    return TransformStep(asdict(move), transforms)


def blur(most: float) -> TransformStep:
    """Gaussian blur with probability 0.5, standard deviation up to ``most`` times the side."""

    def transforms(v2: Any, size: int) -> list[Any]:
        sigma = most * size
        reach = math.ceil(2 * sigma)
        # torchvision mirrors the image at its border, so the kernel may not reach further than the image does.
        if not most or reach >= size:
            return []
        return [v2.RandomApply([v2.GaussianBlur(2 * reach + 1, sigma=(min(0.1, sigma), sigma))], p=0.5)]

    return TransformStep({"blur": most}, transforms)


def symmetries() -> TransformStep:
    """The eight symmetries of the square, each as likely as the others."""

    def transforms(v2: Any, size: int) -> list[Any]:
        quarter = v2.RandomApply([v2.RandomRotation((90, 90))], p=0.5)
        return [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), quarter]

    return TransformStep({"mirror": 0.5, "rotation": 180.0}, transforms)


def trivialaugment(fill: int) -> TransformStep:
    """One operation of any strength (S. Müller, F. Hutter, TrivialAugment, 2021, arXiv:2103.10158).

    Its shift of up to 32 pixels was meant for 224; here it is that share of the side, since 32 pixels would move a
    small image out of its own frame.
    """

    def transforms(v2: Any, size: int) -> list[Any]:
        transform = v2.TrivialAugmentWide(interpolation=_bilinear(v2), fill=fill)
        shifts = (_shift_by_share, True)
        transform._AUGMENTATION_SPACE = {
            **transform._AUGMENTATION_SPACE,
            "TranslateX": shifts,
            "TranslateY": shifts,
        }
        return [transform]

    # torchvision shears about a corner, so the middle is shifted by half of the slant, which is more than its shifts.
    shear, shift = math.degrees(math.atan(0.99)), 0.99 / 2
    most = {"rotation": 135.0, "shear": shear, "shift": shift, "brightness": 0.99, "saturation": 0.99}
    return TransformStep({**most, **_AUTOMATIC}, transforms)


def randaugment(magnitude: int, operations: int, fill: int) -> TransformStep:
    """``operations`` random operations of strength ``magnitude`` (0 to 30).

    E. D. Cubuk et al., RandAugment: Practical automated data augmentation with a reduced search space, 2019,
    arXiv:1909.13719. The same operation may come more than once, so amounts are those of all together.
    """

    def transforms(v2: Any, size: int) -> list[Any]:
        return [v2.RandAugment(operations, magnitude, interpolation=_bilinear(v2), fill=fill)]

    share = magnitude / 30
    return TransformStep({**_repeated(share, 150 / 331, operations), **_AUTOMATIC}, transforms)


def augmix(severity: int, fill: int) -> TransformStep:
    """The image and three chains of one to three operations each, mixed.

    D. Hendrycks et al., AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty, 2019,
    arXiv:1912.02781. ``severity`` (1 to 10) bounds the strength of every operation.
    """

    def transforms(v2: Any, size: int) -> list[Any]:
        return [v2.AugMix(severity=severity, interpolation=_bilinear(v2), fill=fill)]

    return TransformStep({**_repeated((severity - 1) / 9, 1 / 3, 3), **_AUTOMATIC}, transforms)


# What the automatic policies do whatever their strength. Their sharpness smooths with a kernel of 3 x 3 pixels, which
# is about this share of 224.
_AUTOMATIC = {"tones": 1.0, "blur": 0.004}


def _repeated(share: float, shift: float, times: int) -> dict[str, float]:
    """Amounts of torchvision's geometric and colour operations at a share of full strength, done several times."""
    full = {"rotation": 30.0, "shift": shift, "brightness": 0.9, "saturation": 0.9}
    sheared = math.degrees(math.atan(0.3 * share))
    return {**{kind: most * share * times for kind, most in full.items()}, "shear": sheared * times}


def _shift_by_share(bins: int, height: int, width: int) -> Any:
    """Strengths of TrivialAugment's shift in pixels, least first."""
    import torch

    return torch.linspace(0.0, width * 32 / 224, bins)


def _bilinear(v2: Any) -> Any:
    return v2.InterpolationMode.BILINEAR
