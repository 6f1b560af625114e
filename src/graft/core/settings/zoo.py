"""``zoo`` and ``pretrain``: the candidates that selection may choose, and the source task of those trained here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from graft.core.settings.constraints import SECTION, Count, Fraction, NonNegative, Positive, Rate, Text
from graft.core.settings.preprocess import FitChoice, NamedPolicy, Policies

# How the name of a weights file ends; what does not end so is the name of published weights, or of a kind of them.
WEIGHTS_FILES = (".safetensors", ".pth", ".pt", ".bin")


def _candidate(value: Any) -> Any:
    """A bare architecture name is short for a candidate with defaults."""
    return {"arch": value} if isinstance(value, str) else value


def _candidates(value: Any) -> Any:
    """``auto`` stands for candidates that are found later."""
    if value == []:
        raise ValueError("name one at least, or write auto")
    if value == "auto":
        return ()
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, config=SECTION)
class Candidate:
    """One (architecture, weights, depth, size) that selection may choose."""

    arch: Text
    """a torchvision builder's name, or timm:<name>"""
    weights: Text = "DEFAULT"
    """bundled, source, pretrained, none, a torchvision weights name, or a path"""
    depth: Literal["auto", "last"] | Count = "last"
    """where the network is cut: a block's index counted from 0"""
    size: Annotated[int, Field(ge=8, le=2048)] | None = None
    """side of the input in pixels; null: the weights' own"""
    fit: FitChoice | None = None
    """how an image becomes a square; null: as preprocess.fit says"""

    @property
    def weights_file(self) -> Path | None:
        """The user's own file, where ``weights`` names one."""
        return Path(self.weights).expanduser() if self.weights.endswith(WEIGHTS_FILES) else None


@dataclass(frozen=True, config=SECTION)
class Zoo:
    """What may be chosen."""

    candidates: Annotated[
        tuple[Annotated[Candidate, BeforeValidator(_candidate)], ...], BeforeValidator(_candidates)
    ] = ()
    """candidates in any order; auto (none here): what suits the images, by graft.models.zoo.default_candidates"""


@dataclass(frozen=True, config=SECTION)
class Pretrain:
    """The source task, on which candidates with ``weights: source`` are trained first."""

    source: Text = "glyphs"
    """glyphs (rendered with matplotlib's fonts), or whatever data.source may name"""
    held_out: Fraction = 0.1
    """share of an undivided source's images kept to score its models by; glyphs are drawn anew"""
    images_per_class: Positive = 130
    """glyphs rendered for each of the 62 classes; of other sources all images are used"""
    policy: Policies = (NamedPolicy("none"),)
    """what varies the source images, written as augment.policy is"""
    epochs: Positive = 3
    """passes over the source images"""
    batch_size: Positive = 64
    """images per step"""
    learning_rate: Rate = 0.003
    """peak of the one-cycle schedule"""
    weight_decay: NonNegative = 0.01
    """AdamW's, on weights only"""
