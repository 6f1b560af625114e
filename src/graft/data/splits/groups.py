"""Groups: which images must stay together, because they show the same or because the user said so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graft.core.errors import DataError
from graft.data.near_duplicates import chain_equal, cluster_duplicates, join

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def group_rows(manifest: pd.DataFrame, distance: int) -> NDArray[np.int64]:
    """A group's number per row: duplicate clusters and the user's groups, joined transitively.

    If A looks like B, and B belongs to the patient of C, then A, B and C are one group.
    """
    return join_groups(manifest, image_clusters(manifest, distance)[0])


def image_clusters(manifest: pd.DataFrame, distance: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Clusters of copies, and which images show that near copies are none.

    A camera that does not move makes near copies everywhere: where most of the unlike images look like one of another
    class, their perceptual hashes see the scene, and nothing of what the classes differ in. Then only equal pixels
    or equal hashes are copies. Copies that someone made look like images of their own class.
    """
    near = cluster_duplicates(manifest, distance)
    rows = manifest.assign(cluster=near)[manifest["pixel_sha256"].notna() & ~conflicting(manifest)]
    mixed = rows.groupby("cluster")["label"].transform("nunique") > 1
    distinct = ~rows["pixel_sha256"].duplicated()
    scene = np.zeros(len(manifest), dtype=np.bool_)
    if 2 * int((mixed & distinct).sum()) <= int(distinct.sum()):
        return near, scene
    scene[manifest.index.get_indexer(mixed.index[mixed])] = True
    return cluster_duplicates(manifest, 0), scene


def join_groups(manifest: pd.DataFrame, clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same, where the duplicate clusters are known: finding them is what takes long."""
    links = [np.stack([np.arange(len(manifest)), clusters], axis=1)]
    if "group" in manifest:
        links.append(chain_equal(manifest["group"]))
    return join(len(manifest), links)


def conflicting(manifest: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows show exactly the same pixels as a row of another label."""
    labels = manifest.groupby("pixel_sha256", dropna=True)["label"].transform("nunique")
    return np.asarray(labels.fillna(0) > 1, dtype=np.bool_)


def straddling(manifest: pd.DataFrame, groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows belong to a group that the given splits put on both sides."""
    sides = manifest["split"].groupby(groups).transform("nunique")
    return np.asarray(sides > 1, dtype=np.bool_)


def refuse_conflicts(manifest: pd.DataFrame) -> None:
    """Raise DataError where the same image has two labels, naming the files."""
    rows = manifest[conflicting(manifest)]
    if len(rows):
        first = rows[rows["pixel_sha256"] == rows["pixel_sha256"].iloc[0]]
        named = " and ".join(f"{row.path} ({row.label})" for row in first.itertuples())
        raise DataError(
            f"the same image has two labels: {named}"
            + (f"; so have {len(rows) - len(first)} more files" if len(rows) > len(first) else ""),
            remedy="decide for one label and take the other copy out",
        )
