"""Source tasks: the data sets that source models are trained and scored on, rendered or read from files.

To add a source task that is made and not read, write a class with the members of :class:`SourceTask` and a branch in
the stage `pretrain`; whatever lies in files is :class:`ImageTask` already.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from graft.core.packed_files import StoredFile
from graft.features.cache import ArrayCache
from graft.features.image_cache import ImageSet, ListedFiles, decoded
from graft.modalities.image.preprocessing import ImagePreprocessor
from graft.pretraining.source_dataset import GLYPH_CLASSES, GLYPHS, HELD_OUT, TRAIN

if TYPE_CHECKING:
    import pandas as pd

    from graft.pretraining.pretrain import LabelledImages

# Glyphs of each class that a source model is scored by.
SCORED_PER_CLASS = 25


class SourceTask(Protocol):
    """What a source model is trained on."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their indices."""

    @property
    def digest(self) -> str:
        """A hash that changes when any image, label or side does."""

    def train(self, preprocessing: ImagePreprocessor) -> LabelledImages:
        """What is trained on."""

    def held_out(self, preprocessing: ImagePreprocessor) -> LabelledImages:
        """What models are scored by; never trained on."""


@dataclass(frozen=True)
class GlyphTask:
    """Rendered characters (:mod:`graft.pretraining.glyphs`)."""

    per_class: int
    seed: int

    @property
    def name(self) -> str:
        """For people."""
        return "rendered characters"

    @property
    def classes(self) -> tuple[str, ...]:
        """0-9, A-Z, a-z."""
        return GLYPH_CLASSES

    @property
    def digest(self) -> str:
        """They follow from these numbers, and from code that whoever keeps a model has to mind."""
        return hashlib.sha256(json.dumps([GLYPHS, self.per_class, SCORED_PER_CLASS, self.seed]).encode()).hexdigest()

    def train(self, preprocessing: ImagePreprocessor) -> LabelledImages:
        """Render."""
        return self._side(self.per_class, "train", preprocessing)

    def held_out(self, preprocessing: ImagePreprocessor) -> LabelledImages:
        """Others, drawn from the same fonts."""
        return self._side(SCORED_PER_CLASS, "test", preprocessing)

    def _side(self, per_class: int, side: str, preprocessing: ImagePreprocessor) -> LabelledImages:
        # Not above: what a task is called must be told without torch, which takes a second to import.
        from graft.pretraining.glyphs import glyphs
        from graft.pretraining.pretrain import glyph_images

        return glyph_images(*glyphs(per_class, self.seed, side), preprocessing)


@dataclass(frozen=True)
class ImageTask:
    """Images of any data source, as the gather stage divided them.

    Attributes:
        name: the value of ``pretrain.source``.
        digest: of the data, as gathered.
        table: label, split, group and sha256 of every image.
        files: where each of them lies, in the table's order.
        store: where decoded images are kept.
    """

    name: str
    digest: str
    table: pd.DataFrame
    files: tuple[StoredFile, ...]
    store: ArrayCache

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted by name."""
        return tuple(sorted(self.table["label"].unique()))

    def train(self, preprocessing: ImagePreprocessor) -> LabelledImages:
        """Read and decode, once for all candidates of one geometry."""
        return self._side(TRAIN, preprocessing)

    def held_out(self, preprocessing: ImagePreprocessor) -> LabelledImages:
        """The images that gather held out."""
        return self._side(HELD_OUT, preprocessing)

    def _side(self, side: str, preprocessing: ImagePreprocessor) -> LabelledImages:
        import torch

        from graft.pretraining.pretrain import LabelledImages

        rows = np.flatnonzero(self.table["split"] == side)
        some = self.table.iloc[rows]
        names = tuple(str(self.files[row]) for row in rows)
        files = ListedFiles({name: self.files[row] for name, row in zip(names, rows, strict=True)})
        images = ImageSet(files, names, tuple(some["sha256"]))
        places = {name: index for index, name in enumerate(self.classes)}
        labels = some["label"].map(places).to_numpy("int64", copy=True)
        units = np.unique(some["group"], return_inverse=True)[1].reshape(-1)
        array = decoded(images, preprocessing.geometry, self.store)
        return LabelledImages(torch.from_numpy(array), torch.from_numpy(labels), units)
