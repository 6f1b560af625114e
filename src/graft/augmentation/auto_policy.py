"""``augment.policy: auto`` and ``augment.domain: auto``, decided from a sample of the training images.

The rules ask for what tells kinds of images apart cheaply: class names of one character, colour, two tones, and
proportions. To mend a rule, change ``_domain``; what is trained with in which domain is ``_POLICIES``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.errors import DataError
from graft.core.settings import Candidate, NamedPolicy, Params

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

AUTO = "auto"
# How many training images are looked at.
SAMPLE = 64
# The shorter side that is decoded of each, pixels.
ENOUGH = 224
# A copy at most this wide is looked at.
_SIDE = 64
# What the policy `digits` does, but for what moves in from outside, which is black there.
_ON_ANY_GROUND = NamedPolicy(
    "geometric", {"mirror": 0, "rotation": 12, "shift": 0.08, "scale": 0.12, "shear": 8, "blur": 0}
)
_POLICIES = {
    "any": NamedPolicy("light", {"mirror": 0}),
    "natural": NamedPolicy("standard"),
    "digits": NamedPolicy("digits"),
    "text": NamedPolicy("light", {"mirror": 0, "crop": 0.1}),
    "medical": NamedPolicy("light", {"mirror": 0, "crop": 0.2}),
    "aerial": NamedPolicy("symmetries"),
    "colour": NamedPolicy("light"),
}
_GREY = NamedPolicy("light", {"crop": 0.6})


@dataclass(frozen=True)
class VisualTraits:
    """Colour, contrast and shape of one image.

    Attributes:
        coloured: share of its pixels that are not grey.
        two_toned: share of its pixels that are near black or near white.
        contrast: standard deviation of its grey levels of 255.
        ground: the most usual grey level at its border, 0 to 255.
        proportion: width over height.
        side: the shorter one, in pixels; of large images some number of at least :data:`ENOUGH`.
    """

    coloured: float
    two_toned: float
    contrast: float
    ground: float
    proportion: float
    side: int

    @classmethod
    def of(cls, image: Image.Image) -> VisualTraits:
        """Of a decoded RGB image."""
        proportion, side = image.width / image.height, min(image.size)
        if max(image.size) > _SIDE:
            image = image.resize((_SIDE, _SIDE))
        pixels: NDArray[np.int64] = np.asarray(image).astype(np.int64)
        grey = pixels.mean(axis=2)
        border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
        return cls(
            float(np.mean(np.ptp(pixels, axis=2) > 16)),
            float(np.mean((grey < 48) | (grey > 207))),
            float(grey.std()),
            float(np.median(border)),
            proportion,
            side,
        )


@dataclass(frozen=True)
class DetectedDomain:
    """The detected domain, its policy, and the reason."""

    domain: str
    policy: NamedPolicy
    why: str


def detect_domain(classes: Sequence[str], looks: Sequence[VisualTraits], domain: str) -> DetectedDomain:
    """Choose domain and policy by the images' traits and class names.

    Args:
        classes: their names.
        looks: of some training images.
        domain: the one that was set, or ``auto``.
    """
    if domain != AUTO:
        return DetectedDomain(domain, _POLICIES.get(domain, _POLICIES["any"]), f"augment.domain is {domain}")
    found, why = _domain(classes, looks)
    if found == "digits" and np.median([look.ground for look in looks]) >= 64:
        return DetectedDomain(found, _ON_ANY_GROUND, why)
    if found == "natural" and not _are_coloured(looks):
        return DetectedDomain(found, _GREY, why)
    return DetectedDomain(found, _POLICIES[found], why)


def _are_coloured(looks: Sequence[VisualTraits]) -> bool:
    return float(np.mean([look.coloured > 0.01 for look in looks])) >= 0.25


def _domain(classes: Sequence[str], looks: Sequence[VisualTraits]) -> tuple[str, str]:
    """The domain and the reason in words."""
    if all(len(name) == 1 for name in classes):
        return "digits", "every class is called by one character"
    if _are_coloured(looks):
        return "natural", "the images are in colour"
    drawn = [look.two_toned >= 0.6 and look.contrast >= 60 for look in looks]
    if np.mean(drawn) < 0.5:
        return "natural", "the images are grey and of many tones, such as scans and surfaces: no colour is varied"
    if np.median([look.proportion for look in looks]) >= 2:
        return "text", "the images are wide, in two tones"
    return "digits", "the images are grey, in two tones, as characters and drawings are"


def with_candidates(params: Params, reports: Path) -> Params:
    """The settings with the candidates that the stage ``augment`` found in place of ``zoo.candidates: auto``.

    Args:
        params: as params.yaml has them.
        reports: the folder reports/augmentation.

    Raises:
        DataError: the stage has not run, or its result is damaged.
    """
    if params.zoo.candidates:
        return params
    try:
        candidates = tuple(Candidate(**item) for item in _read(reports / "candidates.json")["candidates"])
    except (OSError, ValueError, KeyError, TypeError):
        raise _missing(reports / "candidates.json") from None
    return dataclasses.replace(params, zoo=dataclasses.replace(params.zoo, candidates=candidates))


def with_augmentation(params: Params, reports: Path) -> Params:
    """The settings with the policy and the domain that the stage ``augment`` found in place of ``auto``.

    Raises:
        DataError: the stage has not run, or its result is damaged.
    """
    policy, domain = params.augment.policy, params.augment.domain
    try:
        if policy == (NamedPolicy(AUTO),):
            read = _read(reports / "policy.json")["policy"]
            policy = tuple(NamedPolicy(item["name"], item["options"]) for item in read)
        if domain == AUTO:
            domain = _read(reports / "preview.json")["domain"]
    except (OSError, ValueError, KeyError, TypeError):
        raise _missing(reports) from None
    return dataclasses.replace(params, augment=dataclasses.replace(params.augment, policy=policy, domain=domain))


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _missing(path: Path) -> DataError:
    return DataError(
        "what the stage augment found is missing or damaged", where=path, remedy="run `.venv/bin/dvc repro`"
    )
