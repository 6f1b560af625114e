"""The augmentation policies by name, and the one way to apply them: each sample under a seed of its own.

To add a policy, add a row to ``POLICIES``: what it is for, and a function of the side in pixels that gives
torchvision transforms. They work on uint8 images in any batch shape ``(..., 3, size, size)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graft.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import torch

Policy = Callable[["torch.Tensor"], "torch.Tensor"]


@dataclass(frozen=True)
class Recipe:
    """One named policy.

    Attributes:
        says: what it does and what it is for, for people.
        steps: torchvision's v2 module and the side in pixels -> transforms, in order.
    """

    says: str
    steps: Callable[[Any, int], list[Any]]


def _none(v2: Any, size: int) -> list[Any]:
    return []


def _light(v2: Any, size: int) -> list[Any]:
    return [
        v2.RandomHorizontalFlip(),
        v2.RandomResizedCrop(size, scale=(0.8, 1.0), ratio=(0.9, 1.1), antialias=True),
    ]


def _standard(v2: Any, size: int) -> list[Any]:
    return [
        v2.RandomResizedCrop(size, scale=(0.5, 1.0), ratio=(0.75, 4 / 3), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.02),
    ]


def _geometric(v2: Any, size: int) -> list[Any]:
    return [
        v2.RandomHorizontalFlip(),
        v2.RandomAffine(
            degrees=20, translate=(0.1, 0.1), scale=(0.8, 1.2), shear=10, interpolation=_bilinear(v2), fill=128
        ),
    ]


def _digits(v2: Any, size: int) -> list[Any]:
    # No flip, and turned by less than what makes a 7 of a 1 or a 9 of a 6. What moves in from outside is black, as is
    # the ground of the digits; on a light ground use `light` or `geometric`.
    return [
        v2.RandomAffine(degrees=12, translate=(0.08, 0.08), scale=(0.88, 1.12), shear=8, interpolation=_bilinear(v2))
    ]


def _trivialaugment(v2: Any, size: int) -> list[Any]:
    return [v2.RandomHorizontalFlip(), v2.TrivialAugmentWide(interpolation=_bilinear(v2))]


def _bilinear(v2: Any) -> Any:
    return v2.InterpolationMode.BILINEAR


POLICIES = {
    "none": Recipe("nothing is varied", _none),
    "light": Recipe("flip and a small crop: a safe start for photographs", _light),
    "standard": Recipe("random resized crop, flip and colour: photographs of many scales and lights", _standard),
    "geometric": Recipe("flip, rotation, scale, shear: things seen from many sides", _geometric),
    "digits": Recipe("small rotation, shift, scale, shear, no flip: characters, on a black ground", _digits),
    "trivialaugment": Recipe("flip and one random operation (TrivialAugment): photographs", _trivialaugment),
}


def build_policy(name: str, size: int) -> Policy:
    """The policy called ``name`` for images of ``size`` x ``size`` pixels.

    Returns:
        A function of a uint8 tensor (n, 3, size, size) that gives one of the same shape. It draws once per call from
        torch's global generator, so all images of one call are varied alike; :func:`augment_batch` gives each its own.

    Raises:
        ConfigError: there is no such policy.
    """
    if name not in POLICIES:
        raise ConfigError(
            f"there is no augmentation policy {name!r}", where="augment.policy", remedy=did_you_mean(name, POLICIES)
        )
    from graft.vision import v2

    steps = POLICIES[name].steps(v2, size)
    if not steps:
        return _unchanged
    composed: Policy = v2.Compose(steps)
    return composed


def _unchanged(images: torch.Tensor) -> torch.Tensor:
    return images


def augment_batch(policy: Policy, images: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
    """Vary every image under its own seed.

    The result for an image depends on its pixels and its seed alone: not on the others in the batch, their number or
    order, nor on how many workers load them. The global generator is left as it was.

    Args:
        policy: from :func:`build_policy`.
        images: uint8 (n, height, width, 3).
        seeds: n seeds in [0, 2**63), such as from :func:`graft.determinism.derive_seed`.

    Returns:
        uint8 of the same shape, a new tensor unless the policy changes nothing.
    """
    import torch

    if len(seeds) != len(images):
        raise ValueError(f"{len(images)} images need as many seeds, not {len(seeds)}")
    if policy is _unchanged or not len(images):
        return images
    varied = []
    with torch.random.fork_rng(devices=[]):
        for image, seed in zip(images.permute(0, 3, 1, 2), seeds, strict=True):
            torch.manual_seed(seed)
            varied.append(policy(image.contiguous()))
    return torch.stack(varied).permute(0, 2, 3, 1).contiguous()
