"""``image``, ``preprocess`` and ``augment``: how images are read, made network inputs, and varied for training."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from graft.core.settings.constraints import SECTION, Text

FitChoice = Literal["auto", "crop", "pad", "squash"]
DepthScaling = Literal["fixed", "file", "dataset"]


@dataclass(frozen=True, config=SECTION)
class Image:
    """How image files are read."""

    depth_scaling: DepthScaling = "dataset"
    """which numbers of images of more than 8 bits become black and white: those of the whole type (fixed), the least
    and largest of each image (file), or of all training images (dataset)"""


@dataclass(frozen=True, config=SECTION)
class Preprocess:
    """How images become network inputs."""

    fit: FitChoice = "auto"
    """how an image becomes a square: its centre is cut out (crop), it is filled up (pad), or stretched (squash); auto:
    crop, or where a quarter of the images would lose nearly half of their pixels what cross-validation finds best for
    each candidate"""


@dataclass(frozen=True, config=SECTION)
class NamedPolicy:
    """An augmentation policy by name, and those of its options that are set."""

    name: Text
    """a name from graft.augmentation.policies"""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """numbers by name"""


def _as_tuple(value: Any) -> Any:
    """One policy is short for a list of one."""
    if isinstance(value, str | dict):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _named_policy(value: Any) -> Any:
    """``light`` and ``{randaugment: {magnitude: 9}}``, as people write them."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) == 1:
        (name, options), *_ = value.items()
        if options is None or isinstance(options, dict):
            return {"name": name, "options": options or {}}
    if isinstance(value, NamedPolicy):
        return value
    raise ValueError("a policy is a name, or one name with its options, such as {randaugment: {magnitude: 9}}")


Policies = Annotated[
    tuple[Annotated[NamedPolicy, BeforeValidator(_named_policy)], ...], BeforeValidator(_as_tuple), Field(min_length=1)
]


@dataclass(frozen=True, config=SECTION)
class Augment:
    """What varies the training images, and what may: the domain only refuses, it never changes what is done."""

    policy: Policies = (NamedPolicy("auto"),)
    """a name from graft.augmentation.policies, or a list of names and of {name: {option: number}}; auto: what suits the
    domain"""
    domain: str = "auto"
    """what the images are, a name from graft.augmentation.domains; refuses what changes labels; auto: by a sample of
    the training images"""
    preview: bool = True
    """whether a sheet of augmented images is drawn, which takes some seconds"""
