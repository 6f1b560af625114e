"""Divide a source data set into training and held-out images, without any test image of the target.

Nothing that the target is tested on may be seen in pretraining: the model that grows from it would have seen its test.
So images of the source that show a test image of the target, to the pixel or nearly, are left out and counted.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.core.errors import DataError
from graft.data.ingest import by_raw_path
from graft.data.near_duplicates import cluster_duplicates
from graft.data.sources.listing import Sample, SourceListing, SourceSpec
from graft.data.sources.registry import list_source
from graft.data.splits.groups import conflicting, join_groups, straddling

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    DrawTest = Callable[[pd.DataFrame, NDArray[np.int64]], NDArray[np.bool_]]

GLYPHS = "glyphs"
# The classes of the rendered characters: 0-9, A-Z, a-z.
GLYPH_CLASSES = tuple(string.digits + string.ascii_uppercase + string.ascii_lowercase)
FACTS_FILE, TABLE_FILE = "gathered.json", "images.parquet"
KEY = "pretrain.source"
TRAIN, HELD_OUT = "train", "held_out"
COLUMNS = ("path", "label", "split", "group", "sha256")
UNREADABLE = "cannot be decoded"
TWO_LABELS = "stand under two labels"
TESTED = "show what the target is tested on"
STRADDLING = "are near copies of held-out images, or share a group with one"


@dataclass(frozen=True)
class SourceDataset:
    """A source task.

    Attributes:
        table: a row per image that is used, sorted by path: path, label, split (``train`` or ``held_out``), group (a
            whole number) and the sha256 of the file.
        left_out: how many images are left out, by why.
    """

    table: pd.DataFrame
    left_out: Mapping[str, int]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, sorted."""
        return tuple(sorted(self.table["label"].unique()))

    @property
    def digest(self) -> str:
        """The hash of the data: of each image's bytes, its label and its side, whatever the files are called."""
        rows = sorted(zip(self.table["sha256"], self.table["label"], self.table["split"], strict=True))
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def find_source(source: str, root: Path, scratch: Path, follow_links: bool) -> SourceListing:
    """The images of ``pretrain.source``; none for glyphs, which are rendered.

    Args:
        source: the value of the key.
        root: the project's folder.
        scratch: where built-in images are written.
        follow_links: see ``data.follow_links``.

    Raises:
        DataError: there is no such source, or it lists no image.
    """
    if source == GLYPHS:
        return SourceListing(())
    with named_by_its_key():
        return list_source(SourceSpec(source, root, scratch, follow_links))


@contextmanager
def named_by_its_key() -> Iterator[None]:
    """Name ``pretrain.source`` in what is said of a source, instead of ``data.source``."""
    try:
        yield
    except DataError as error:
        # The same words are said of the target's data, under its own key.
        remedy = None if error.remedy is None else error.remedy.replace("data.source", KEY)
        raise DataError(error.what, where=error.where, remedy=remedy) from None


def samples_by_path(found: SourceListing) -> dict[str, Sample]:
    """Every image by the path that names it in tables."""
    return by_raw_path(found.samples)


def divide_source(manifest: pd.DataFrame, tested: pd.DataFrame, distance: int, draw: DrawTest) -> SourceDataset:
    """Divide the source's images into those to train on and those to score by.

    A source that comes divided is used as it is: its test is held out. Else images are held out as the target's are
    drawn for its test: each by its own pixels, near copies and groups together.

    Args:
        manifest: the source's images with their statistics and keys (:func:`graft.data.manifest.with_keys`).
        tested: ``fingerprint`` and ``near_key`` of the target's test images.
        distance: bits of the perceptual hash up to which images are near copies.
        draw: which rows are held out where the source does not come divided, from the rows and their groups.

    Raises:
        DataError: fewer than two classes are left, or a side has no image.
    """
    left_out: dict[str, int] = {}

    def without(rows: pd.DataFrame, unwanted: NDArray[np.bool_], why: str) -> pd.DataFrame:
        if unwanted.any():
            left_out[why] = int(unwanted.sum())
        return rows[~unwanted].reset_index(drop=True)

    rows = manifest.sort_values("path", ignore_index=True)
    rows = without(rows, rows["problems"].notna().to_numpy(dtype=bool), UNREADABLE)
    rows = without(rows, conflicting(rows), TWO_LABELS)
    rows = without(rows, shows_any_of(rows, tested, distance), TESTED)
    _refuse_few(rows, left_out)
    groups = join_groups(rows, cluster_duplicates(rows, distance))
    rows = rows.assign(split=_sides(rows, groups, draw), group=groups)
    parted = straddling(rows, groups) & (rows["split"] == TRAIN).to_numpy()
    rows = without(rows, parted, STRADDLING)
    _refuse_one_sided(rows, left_out)
    return SourceDataset(rows[list(COLUMNS)].astype({"split": "str"}), left_out)


def shows_any_of(rows: pd.DataFrame, tested: pd.DataFrame, distance: int) -> NDArray[np.bool_]:
    """Which ``rows`` show an image of ``tested``: the same pixels, or hashes at most ``distance`` bits apart."""
    import pandas as pd

    columns = ["fingerprint", "near_key"]
    both = pd.concat([tested[columns], rows[columns]], ignore_index=True)
    clusters = cluster_duplicates(both, distance)
    return np.isin(clusters[len(tested) :], clusters[: len(tested)])


def _sides(rows: pd.DataFrame, groups: NDArray[np.int64], draw: DrawTest) -> NDArray[np.str_]:
    held_out = (rows["split"] == "test").to_numpy() if rows["split"].notna().any() else draw(rows, groups)
    return np.where(held_out, HELD_OUT, TRAIN)


def _refuse_few(rows: pd.DataFrame, left_out: Mapping[str, int]) -> None:
    labels = sorted(rows["label"].unique())
    if len(labels) < 2:
        raise DataError(
            (f"the source has only one class, {labels[0]!r}" if labels else "the source has no image that can be used")
            + _said(left_out),
            where=KEY,
            remedy="a source task needs two classes or more: name another source, or add images to this one",
        )


def _refuse_one_sided(rows: pd.DataFrame, left_out: Mapping[str, int]) -> None:
    trained = set(rows["label"][rows["split"] == TRAIN])
    for label in sorted(rows["label"].unique()):
        if label not in trained:
            raise DataError(
                f"class {label!r} of the source has no image to train on{_said(left_out)}",
                where=KEY,
                remedy="add training images of it, or take the class out",
            )
    if not (rows["split"] == HELD_OUT).any():
        raise DataError(
            f"no image of the source is left to score its models by{_said(left_out)}",
            where=KEY,
            remedy="raise pretrain.held_out, add images, or divide the source into train/ and test/",
        )


def _said(left_out: Mapping[str, int]) -> str:
    return "".join(f"; {count} of its images {why} and are left out" for why, count in left_out.items())
