"""Groups: samples that must stay on one side of a split, as near copies or by the user's column ``group``.

Tables here have the columns ``fingerprint`` and ``near_key`` (:func:`graft.data.manifest.with_keys`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graft.core.errors import DataError
from graft.data.near_duplicates import chain_equal, cluster_duplicates, join

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def group_rows(manifest: pd.DataFrame, distance: int) -> NDArray[np.int64]:
    """A group's number per row: clusters of near copies and the user's groups, joined transitively."""
    return join_groups(manifest, image_clusters(manifest, distance)[0])


def image_clusters(manifest: pd.DataFrame, distance: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Clusters of copies, and which rows are only near copies of the same scene.

    A fixed camera makes near copies everywhere: where most of the distinct samples are near one of another class, their
    keys describe the background and not what the classes differ in. Then only equal fingerprints or keys are copies.
    Real copies are near samples of their own class.
    """
    near = cluster_duplicates(manifest, distance)
    rows = manifest.assign(cluster=near)[manifest["fingerprint"].notna() & ~conflicting(manifest)]
    mixed = rows.groupby("cluster")["label"].transform("nunique") > 1
    distinct = ~rows["fingerprint"].duplicated()
    scene = np.zeros(len(manifest), dtype=np.bool_)
    if 2 * int((mixed & distinct).sum()) <= int(distinct.sum()):
        return near, scene
    scene[manifest.index.get_indexer(mixed.index[mixed])] = True
    return cluster_duplicates(manifest, 0), scene


def join_groups(manifest: pd.DataFrame, clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same for known clusters, which take long to find."""
    links = [np.stack([np.arange(len(manifest)), clusters], axis=1)]
    if "group" in manifest:
        links.append(chain_equal(manifest["group"]))
    return join(len(manifest), links)


def conflicting(manifest: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows have the same content as a row of another label."""
    labels = manifest.groupby("fingerprint", dropna=True)["label"].transform("nunique")
    return np.asarray(labels.fillna(0) > 1, dtype=np.bool_)


def straddling(manifest: pd.DataFrame, groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows belong to a group that the given splits put on both sides."""
    sides = manifest["split"].groupby(groups).transform("nunique")
    return np.asarray(sides > 1, dtype=np.bool_)


def refuse_conflicts(manifest: pd.DataFrame) -> None:
    """Raise DataError where the same image has two labels, naming the files."""
    rows = manifest[conflicting(manifest)]
    if len(rows):
        first = rows[rows["fingerprint"] == rows["fingerprint"].iloc[0]]
        named = " and ".join(f"{row.path} ({row.label})" for row in first.itertuples())
        raise DataError(
            f"the same image has two labels: {named}"
            + (f"; so have {len(rows) - len(first)} more files" if len(rows) > len(first) else ""),
            remedy="decide for one label and take the other copy out",
        )
