"""The two tables that are validated, made from the manifest: a row per image, and a row per class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graft.images.duplicates import cluster_duplicates
from graft.images.groups import conflicting, group_rows, straddling
from graft.images.manifest import usable

if TYPE_CHECKING:
    import pandas as pd


def images_table(manifest: pd.DataFrame, distance: int) -> pd.DataFrame:
    """The manifest with what concerns several images at once.

    Added columns: short_side (pixels), copies (images in its duplicate cluster, itself included), cluster, conflict
    (same pixels, other label), straddles (its group is on both given sides).
    """
    clusters = cluster_duplicates(manifest, distance)
    groups = group_rows(manifest, distance)
    return manifest.assign(
        short_side=manifest[["width", "height"]].min(axis=1),
        cluster=clusters,
        copies=manifest.groupby(clusters)["path"].transform("size"),
        conflict=conflicting(manifest),
        straddles=straddling(manifest, groups),
    )


def classes_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """A row per class: label, images that can be decoded, and how many times smaller than the largest class that is.

    A class none of whose files can be decoded has 0 images.
    """
    counts = usable(manifest)["label"].value_counts()
    sizes = counts.reindex(sorted(manifest["label"].dropna().unique()), fill_value=0)
    largest = float(sizes.max()) if len(sizes) else 0.0
    table = sizes.rename_axis("label").reset_index(name="images")
    return table.assign(times_smaller=largest / np.maximum(table["images"], 1))
