"""Domains of images, and the largest change of each kind that keeps their labels.

To add a domain, add a row to ``DOMAINS``. A kind of change that a domain does not name is free in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from graft.augmentation.policies import POLICIES
from graft.augmentation.policy_config import PolicyConfig, PolicySpec, as_yaml, default_policies
from graft.augmentation.transforms import CHANGES
from graft.core.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class ChangeLimit:
    """The largest amount of one kind of change, in the kind's unit (0 forbids it), and the reason."""

    most: float
    why: str


@dataclass(frozen=True)
class Domain:
    """A named domain with its limits.

    Attributes:
        says: what images are meant, for people.
        limits: kind of change (a key of :data:`graft.augmentation.transforms.CHANGES`) -> the most of it.
    """

    says: str
    limits: Mapping[str, ChangeLimit] = field(default_factory=dict)


_GROUND = "most of the area is ground, and a share of the area is no share of the label"
_STROKES = "inverted by parts, a stroke becomes its own outline"
_COLOUR = "the colour is part of what the label says"
_SIDES = "left and right of a body are not the same, and a finding has its side"

DOMAINS = {
    "any": Domain("nothing is known of the images, so nothing is forbidden"),
    "natural": Domain(
        "photographs of things, animals, people, places",
        {"crop": ChangeLimit(0.75, "what the label names may be outside the part that is left")},
    ),
    "digits": Domain(
        "single digits or letters",
        {
            "mirror": ChangeLimit(0, "a mirrored digit or letter is another one or none"),
            "rotation": ChangeLimit(15, "turned further a 1 becomes a 7, and a 6 in the end a 9"),
            "shear": ChangeLimit(15, "slanted further a 7 becomes a 1"),
            # Shifted by up to 15% of the side, a reader that is used to such shifts fell from 0.99 to 0.87 right.
            "shift": ChangeLimit(0.1, "a stroke that has left the image is missing"),
            "scale": ChangeLimit(0.15, "a stroke that has left the image is missing"),
            "crop": ChangeLimit(0.2, "a stroke that is cut off is missing"),
            "tones": ChangeLimit(0, _STROKES),
            "paste": ChangeLimit(0, _GROUND),
        },
    ),
    "text": Domain(
        "words, lines, documents",
        {
            "mirror": ChangeLimit(0, "mirrored writing is none"),
            "rotation": ChangeLimit(10, "writing has its direction"),
            "shear": ChangeLimit(10, "letters that are slanted further are others"),
            "shift": ChangeLimit(0.1, "letters that have left the image are missing"),
            "crop": ChangeLimit(0.1, "letters that are cut off are missing"),
            "tones": ChangeLimit(0, _STROKES),
            "blur": ChangeLimit(0.005, "small letters cannot be told apart"),
            "paste": ChangeLimit(0, _GROUND),
        },
    ),
    "medical": Domain(
        "radiographs, scans, photographs of bodies, stained sections",
        {
            "mirror": ChangeLimit(0, _SIDES),
            "rotation": ChangeLimit(15, _SIDES),
            "crop": ChangeLimit(0.2, "a small finding may be outside the part that is left"),
            "scale": ChangeLimit(0.2, "the size of a finding is part of it"),
            "brightness": ChangeLimit(0.3, "density is part of a finding"),
            "saturation": ChangeLimit(0.1, "stains and skin are told by their colour"),
            "hue": ChangeLimit(0.02, "stains and skin are told by their colour"),
            "tones": ChangeLimit(0, "density is part of a finding, and inverted it is its opposite"),
            "blur": ChangeLimit(0.002, "fine structure is part of a finding"),
            "paste": ChangeLimit(
                0, "a finding is small, and may be in or outside the pasted part whatever the shares say"
            ),
        },
    ),
    "aerial": Domain(
        "images from above, without up or left: satellites, aircraft, microscopes",
        {
            "crop": ChangeLimit(0.6, "land use is told by its surroundings"),
            "scale": ChangeLimit(0.3, "the scale is known from above, and tells a road from a path"),
            "hue": ChangeLimit(0.05, _COLOUR),
            "saturation": ChangeLimit(0.5, _COLOUR),
            "tones": ChangeLimit(0, _COLOUR),
        },
    ),
    "colour": Domain(
        "what is told by its colour: ripeness, stains, flowers, paints",
        {
            "hue": ChangeLimit(0.02, _COLOUR),
            "saturation": ChangeLimit(0.2, _COLOUR),
            "brightness": ChangeLimit(0.3, _COLOUR),
            "tones": ChangeLimit(0, _COLOUR),
        },
    ),
}


def check_domain(choice: PolicyConfig, name: str) -> None:
    """Refuse policies that exceed the limits of the domain called ``name``.

    Amounts of several policies add up.

    Raises:
        ConfigError: there is no such domain, or a kind of change goes beyond its limit; the message names policies,
            changes, limits and reasons, and the remedy is an ``augment.policy`` that can be copied.
    """
    if name not in DOMAINS:
        raise ConfigError(
            f"there is no augmentation domain {name!r}", where="augment.domain", remedy=did_you_mean(name, DOMAINS)
        )
    broken = exceeds(choice, DOMAINS[name])
    if not broken:
        return
    guilty = [pick.name for pick in choice.policies if set(broken) & set(pick.changes)]
    reasons = [_reason(kind, amount, DOMAINS[name].limits[kind]) for kind, amount in broken.items()]
    raise ConfigError(
        f"the augmentation {' with '.join(map(repr, guilty))} would not keep the labels of the domain {name!r}:\n"
        + "\n".join(f"  - it {reason}" for reason in reasons),
        where="augment.policy",
        remedy=_remedy(choice, name),
    )


def exceeds(choice: PolicyConfig, domain: Domain) -> dict[str, float]:
    """Kinds of change that exceed the domain's limits, with their amounts."""
    total = choice.changes
    # A hair's breadth more is due to adding up.
    over = [kind for kind, limit in domain.limits.items() if total.get(kind, 0.0) > limit.most + 1e-9]
    return {kind: total[kind] for kind in over}


def allowed_policies(name: str) -> list[str]:
    """The policies that keep the labels of the domain with their default options."""
    return [policy for policy in POLICIES if not exceeds(default_policies(policy), DOMAINS[name])]


def _reason(kind: str, amount: float, limit: ChangeLimit) -> str:
    says = CHANGES[kind].format(amount)
    bound = "not allowed" if not limit.most else f"allowed: {_amount(kind, limit.most)}"
    return f"{says} ({bound}): {limit.why}"


def _amount(kind: str, amount: float) -> str:
    """``up to 15 degrees``: the part of the sentence that holds the number."""
    says = CHANGES[kind].format(amount)
    return says[says.index("up to") :] if "up to" in says else says


def _remedy(choice: PolicyConfig, name: str) -> str:
    others = f"use one of {', '.join(allowed_policies(name))}; or set augment.domain to what the images are"
    tamed = _tamed(choice, DOMAINS[name])
    return f"write `policy: {as_yaml(tamed)}`; or {others}" if tamed is not None else others


def _tamed(choice: PolicyConfig, domain: Domain) -> PolicyConfig | None:
    """The same policies with options lowered to the limits, or None where that is not enough."""
    broken = exceeds(choice, domain)
    picks = []
    for pick in choice.policies:
        lower = {kind: _share(pick, kind, choice, domain) for kind in broken if kind in pick.definition.options}
        picks.append(PolicySpec(pick.name, {**pick.values, **lower}))
    tamed = PolicyConfig(tuple(picks))
    return None if exceeds(tamed, domain) else tamed


def _share(pick: PolicySpec, kind: str, choice: PolicyConfig, domain: Domain) -> float:
    """A policy's share of a limit that several policies use up together."""
    exact = pick.values[kind] * domain.limits[kind].most / choice.changes[kind]
    # Three decimals are enough for all units, and rounding down keeps the sum within the limit.
    return math.floor(exact * 1000 + 1e-6) / 1000
