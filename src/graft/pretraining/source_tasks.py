"""Source tasks: what source models are trained on and scored by, whether rendered or read from files.

To add a source task that is made and not read, write a class with the members of :class:`SourceTask` and a branch in
:func:`task_of`; whatever lies in files is :class:`ImageTask` already.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from PIL import Image

from graft.core.errors import DataError
from graft.core.packed_files import StoredFile
from graft.features.cache import Store
from graft.features.image_cache import ImageSet, ListedFiles, decoded
from graft.models.preprocessing import Preprocessing
from graft.pretraining.glyphs import CLASSES, SIDE, glyphs
from graft.pretraining.pretrain import Labelled, at_geometry
from graft.pretraining.source_dataset import FACTS_FILE, GLYPHS, HELD_OUT, TABLE_FILE, TRAIN, by_path, find_source

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.core.settings import Params
    from graft.core.workspace import Workspace

# Glyphs of each class that a source model is scored by.
SCORED_PER_CLASS = 25
# A sheet shows so many of each class, of so many classes, each so many pixels wide.
SHEET_IMAGES, SHEET_CLASSES, SHEET_SIDE = 10, 62, 32


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

    def train(self, preprocessing: Preprocessing) -> Labelled:
        """What is trained on."""

    def held_out(self, preprocessing: Preprocessing) -> Labelled:
        """What models are scored by; never trained on."""

    def sheet(self) -> NDArray[np.uint8]:
        """Some images of each class as one picture, (h, w) or (h, w, 3), a row of classes or a class a row."""


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
        return CLASSES

    @property
    def digest(self) -> str:
        """They follow from these numbers, and from code that whoever keeps a model has to mind."""
        return hashlib.sha256(json.dumps([GLYPHS, self.per_class, SCORED_PER_CLASS, self.seed]).encode()).hexdigest()

    def train(self, preprocessing: Preprocessing) -> Labelled:
        """Render."""
        return at_geometry(*glyphs(self.per_class, self.seed, "train"), preprocessing)

    def held_out(self, preprocessing: Preprocessing) -> Labelled:
        """Others, drawn from the same fonts."""
        return at_geometry(*glyphs(SCORED_PER_CLASS, self.seed, "test"), preprocessing)

    def sheet(self) -> NDArray[np.uint8]:
        """A column for each class."""
        images, _ = glyphs(SHEET_IMAGES, self.seed, "train")
        columns = images.reshape(len(CLASSES), SHEET_IMAGES, SIDE, SIDE).transpose(1, 2, 0, 3)
        return np.kron(columns.reshape(SHEET_IMAGES * SIDE, -1), np.ones((3, 3), dtype=np.uint8))


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
    store: Store

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted by name."""
        return tuple(sorted(self.table["label"].unique()))

    def train(self, preprocessing: Preprocessing) -> Labelled:
        """Read and decode, once for all candidates of one geometry."""
        return self._side(TRAIN, preprocessing)

    def held_out(self, preprocessing: Preprocessing) -> Labelled:
        """The images that gather held out."""
        return self._side(HELD_OUT, preprocessing)

    def _side(self, side: str, preprocessing: Preprocessing) -> Labelled:
        rows = np.flatnonzero(self.table["split"] == side)
        some = self.table.iloc[rows]
        names = tuple(str(self.files[row]) for row in rows)
        files = ListedFiles({name: self.files[row] for name, row in zip(names, rows, strict=True)})
        images = ImageSet(files, names, tuple(some["sha256"]))
        places = {name: index for index, name in enumerate(self.classes)}
        labels = some["label"].map(places).to_numpy("int64", copy=True)
        units = np.unique(some["group"], return_inverse=True)[1].reshape(-1)
        array = decoded(images, preprocessing.geometry, self.store)
        return Labelled(torch.from_numpy(array), torch.from_numpy(labels), units)

    def sheet(self) -> NDArray[np.uint8]:
        """A row for each class."""
        from graft.modalities.image.decode import decode

        rows = []
        for name in self.classes[:SHEET_CLASSES]:
            few = np.flatnonzero((self.table["label"] == name) & (self.table["split"] == TRAIN))[:SHEET_IMAGES]
            small = [decode(self.files[row], least_side=SHEET_SIDE).resize((SHEET_SIDE, SHEET_SIDE)) for row in few]
            blank = Image.new("RGB", (SHEET_SIDE, SHEET_SIDE))
            rows.append(np.hstack([np.asarray(item) for item in [*small, *[blank] * (SHEET_IMAGES - len(small))]]))
        return np.vstack(rows).astype(np.uint8)


def task_of(params: Params, workspace: Workspace, scratch: Path) -> SourceTask:
    """The source task that ``pretrain.source`` names.

    Args:
        params: all settings.
        workspace: where the gather stage left what it found.
        scratch: a folder that stays as long as the task is used; built-in images are written there.

    Raises:
        DataError: the source was not gathered, or was changed since.
    """
    if params.pretrain.source == GLYPHS:
        return GlyphTask(params.pretrain.images_per_class, params.seed)
    import pandas as pd

    try:
        facts = json.loads((workspace.gathered / FACTS_FILE).read_text(encoding="utf-8"))
        table = pd.read_parquet(workspace.gathered / TABLE_FILE)
    except FileNotFoundError as error:
        raise DataError(
            "the source's images were not gathered yet",
            where=error.filename,
            remedy="run `.venv/bin/dvc repro pretrain`",
        ) from None
    records = by_path(find_source(params, workspace.root, scratch))
    gone = [path for path in table["path"] if path not in records]
    if gone:
        raise DataError(
            f"an image of the source is gone since it was gathered: {gone[0]}"
            + (f"; so are {len(gone) - 1} more" if len(gone) > 1 else ""),
            where=params.pretrain.source,
            remedy="run `.venv/bin/dvc repro pretrain`",
        )
    files = tuple(records[path].file for path in table["path"])
    return ImageTask(
        params.pretrain.source, facts["data_sha256"], table, files, Store(workspace.cache, params.compute.cache_gb)
    )
