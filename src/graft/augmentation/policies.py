"""The augmentation policies by name with their options, applied to each sample with its own seed.

To add a policy, add a row to ``POLICIES``: what it is for, its options, and the steps or the mixing it is made of.
The tests run over every row by themselves. ``tuning/space.py`` lists those that a search tries, and params.yaml names
all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from graft.augmentation import transforms as steps
from graft.augmentation.mixing import BatchMixing
from graft.augmentation.transforms import GREY, AffineRange, TransformStep

if TYPE_CHECKING:
    import torch

    Vary = Callable[[torch.Tensor], torch.Tensor]

Values = Mapping[str, float]


@dataclass(frozen=True)
class PolicyOption:
    """A numeric option of a policy: default, range, and whether it is an integer.

    An option named like a key of :data:`graft.augmentation.transforms.CHANGES` is that change's upper limit, which
    domains may lower.
    """

    default: float
    least: float
    most: float
    whole: bool = False


@dataclass(frozen=True)
class PolicyDefinition:
    """A named policy: transforms of single images, or a mixing of whole batches.

    Attributes:
        says: what it does and what it is for, for people.
        options: what can be set, by name.
        steps: the options' values -> steps, in order.
        mixing: the options' values -> how the images of a batch are mixed; None: this is no batch policy.
    """

    says: str
    options: Mapping[str, PolicyOption] = field(default_factory=dict)
    steps: Callable[[Values], list[TransformStep]] = lambda values: []
    mixing: Callable[[Values], BatchMixing] | None = None

    def changes(self, values: Values) -> dict[str, float]:
        """Kind of change -> largest amount, summed over all transforms."""
        total: dict[str, float] = {}
        parts = [step.changes for step in self.steps(values)]
        if self.mixing is not None:
            parts.append(self.mixing(values).changes)
        for part in parts:
            for kind, amount in part.items():
                total[kind] = total.get(kind, 0.0) + amount
        return {kind: amount for kind, amount in total.items() if amount}


def _geometric(v: Values) -> list[TransformStep]:
    return [
        steps.mirror(v["mirror"]),
        steps.affine_mirrored(_move(v)),
        steps.blur(v["blur"]),
    ]


def _digits(v: Values) -> list[TransformStep]:
    # Turned by less than what makes a 7 of a 1 or a 9 of a 6. What moves in from outside is black, as is the ground of
    # the digits; for another ground set `geometric`'s mirror to 0.
    return [steps.affine_on_black(_move(v))]


def _move(v: Values) -> AffineRange:
    return AffineRange(v["rotation"], v["shift"], v["scale"], v["shear"])


_MIRROR = PolicyOption(0.5, 0, 1)
_AFFINE = {"rotation": 180.0, "shift": 1.0, "scale": 0.9, "shear": 60.0}


def _affine_options(**defaults: float) -> dict[str, PolicyOption]:
    return {name: PolicyOption(default, 0, _AFFINE[name]) for name, default in defaults.items()}


POLICIES = {
    "none": PolicyDefinition("nothing is varied"),
    "light": PolicyDefinition(
        "flip and a small crop: a safe start for photographs",
        {"mirror": _MIRROR, "crop": PolicyOption(0.2, 0, 0.95)},
        lambda v: [steps.crop(v["crop"], 1.1), steps.mirror(v["mirror"])],
    ),
    "standard": PolicyDefinition(
        "random resized crop, flip and colour: photographs of many scales and lights",
        {
            "mirror": _MIRROR,
            "crop": PolicyOption(0.6, 0, 0.95),
            "brightness": PolicyOption(0.2, 0, 1),
            "saturation": PolicyOption(0.2, 0, 1),
            # Hues take longer to turn than all the rest together, and few classes are told by less.
            "hue": PolicyOption(0.0, 0, 0.5),
        },
        lambda v: [
            steps.crop(v["crop"], 4 / 3),
            steps.mirror(v["mirror"]),
            steps.colour(v["brightness"], v["saturation"], v["hue"]),
        ],
    ),
    "geometric": PolicyDefinition(
        "flip, rotation, shift, scale, shear, a little blur: things seen from many sides",
        {
            "mirror": _MIRROR,
            **_affine_options(rotation=20, shift=0.1, scale=0.2, shear=10),
            "blur": PolicyOption(0.005, 0, 0.1),
        },
        _geometric,
    ),
    "digits": PolicyDefinition(
        "small rotation, shift, scale, shear, no flip: characters, on a black ground",
        _affine_options(rotation=12, shift=0.08, scale=0.12, shear=8),
        _digits,
    ),
    "symmetries": PolicyDefinition(
        "quarter turns and flips: what has no up and no left, such as aerial and microscope images",
        {},
        lambda v: [steps.symmetries()],
    ),
    "randaugment": PolicyDefinition(
        "flip and random operations of one strength (RandAugment): photographs",
        {
            "mirror": _MIRROR,
            "magnitude": PolicyOption(9, 0, 30, whole=True),
            "operations": PolicyOption(2, 1, 10, whole=True),
        },
        lambda v: [steps.mirror(v["mirror"]), steps.randaugment(int(v["magnitude"]), int(v["operations"]), GREY)],
    ),
    "trivialaugment": PolicyDefinition(
        "flip and one random operation of any strength (TrivialAugment): photographs",
        {"mirror": _MIRROR},
        lambda v: [steps.mirror(v["mirror"]), steps.trivialaugment(GREY)],
    ),
    "augmix": PolicyDefinition(
        "flip and a mixture of random operations (AugMix): photographs that may come damaged or in other weather",
        {"mirror": _MIRROR, "severity": PolicyOption(3, 1, 10, whole=True)},
        lambda v: [steps.mirror(v["mirror"]), steps.augmix(int(v["severity"]), GREY)],
    ),
    "mixup": PolicyDefinition(
        "every image laid over another of its batch, labels in the same shares (mixup)",
        {"alpha": PolicyOption(0.2, 0.01, 10)},
        mixing=lambda v: BatchMixing("MixUp", v["alpha"], {"overlay": 1.0}),
    ),
    "cutmix": PolicyDefinition(
        "a part of another image of the batch pasted into every image, labels by area (CutMix)",
        {"alpha": PolicyOption(1.0, 0.01, 10)},
        mixing=lambda v: BatchMixing("CutMix", v["alpha"], {"paste": 1.0}),
    ),
}


@dataclass(frozen=True)
class Policy:
    """Configured policies, built for one image size.

    Attributes:
        transform: a uint8 tensor (3, side, side) -> one (3, size, size), drawn from torch's global generator; None:
            images stay as they are. :func:`augment_batch` gives each image its own seed.
        mixing: how a batch is mixed after that; None: not at all.
        enlargement: side that images should have, as a multiple of the size they leave with: more than 1 where the
            policy begins with a crop, which would otherwise have to upsample.
    """

    transform: Vary | None = None
    mixing: BatchMixing | None = None
    enlargement: float = 1.0

    @property
    def changes_anything(self) -> bool:
        """Whether there is anything to do."""
        return self.transform is not None or self.mixing is not None


def augment_batch(policy: Policy, images: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
    """Transform every image with its own seed. (Batches are mixed by :meth:`BatchMixing.mix`.)

    The result for an image depends on its pixels and its seed alone: not on the others in the batch, their number or
    order, nor on how many workers load them. The global generator is left as it was.

    Args:
        policy: from :func:`build_policy`.
        images: uint8 (n, side, side, 3).
        seeds: n seeds in [0, 2**63), such as from :func:`graft.core.determinism.derive_seed`.

    Returns:
        uint8 (n, size, size, 3), a new tensor unless the policy varies nothing.
    """
    import torch

    if len(seeds) != len(images):
        raise ValueError(f"{len(images)} images need as many seeds, not {len(seeds)}")
    if policy.transform is None or not len(images):
        return images
    varied = []
    with torch.random.fork_rng(devices=[]):
        for image, seed in zip(images.permute(0, 3, 1, 2), seeds, strict=True):
            # Not torch.manual_seed, which would seed every GPU as well.
            torch.default_generator.manual_seed(seed)
            varied.append(policy.transform(image.contiguous()))
    return torch.stack(varied).permute(0, 2, 3, 1).contiguous()
