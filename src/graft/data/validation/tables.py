"""The tables that are validated, made from the manifest: a row per image, per class, per class name, per fact."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from graft.data.manifest import usable
from graft.data.splits.groups import conflicting, image_clusters, join_groups, straddling
from graft.data.validation.drift import Shift
from graft.modalities.image.conversion import cut_away, range_used

if TYPE_CHECKING:
    import pandas as pd

    from graft.core.settings import Params


_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_WHITE, _BLANK = 0.98, 0.01


def relate(manifest: pd.DataFrame, distance: int) -> pd.DataFrame:
    """The manifest with what takes long to find: cluster (images that look alike), scene and, of given splits, related.

    ``scene`` says which images look like one of another class, where most do.

    ``related`` numbers groups that must stay on one side: clusters and the user's groups, joined. Where the source
    gives no splits every row is its own.
    """
    clusters, scene = image_clusters(manifest, distance)
    divided = manifest["split"].notna().any()
    # A missing label would count as met, for expectations pass over what is missing.
    return manifest.assign(
        label=manifest["label"].fillna(""),
        cluster=clusters,
        scene=scene,
        related=join_groups(manifest, clusters) if divided else np.arange(len(manifest)),
    )


def images_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`relate` with what concerns several of them.

    Added columns: short_side (pixels), white_on_white (transparent, and white where it is not), copies (images in its
    cluster, itself included), conflict (same pixels, other label), straddles (its group is on both given sides). And of
    copies, which are to stay where others go into quarantine: first_copy (of each label in its cluster one: a test
    image before others, then the first by path) and test_copy (what is given to the test). An image with two labels
    stays: a person has to say which is wrong.
    """
    conflict = conflicting(rows)
    in_test = (rows["split"] == "test").fillna(False).astype(bool)
    order = rows.assign(later=~in_test).sort_values(["later", "path"])
    return rows.assign(
        short_side=rows[["width", "height"]].min(axis=1),
        white_on_white=rows["mode"].isin(_WITH_ALPHA) & (rows["brightness"] > _WHITE) & (rows["contrast"] < _BLANK),
        copies=rows.groupby("cluster")["path"].transform("size"),
        conflict=conflict,
        straddles=straddling(rows, rows["related"].to_numpy()),
        test_copy=in_test | conflict,
        first_copy=~order.duplicated(["cluster", "label"]).reindex(rows.index),
    )


def with_conversion(manifest: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The manifest with what becoming a network's input loses of each image, in percent, as far as ``params`` ask it.

    Added columns: cut_away, and where there are images of more than 8 bits range_used.
    """
    columns = {}
    if params.preprocess.fit in {"auto", "crop"}:
        columns["cut_away"] = 100 * cut_away(manifest)
    if params.image.depth_scaling != "file" and "depth_low" in manifest and manifest["depth_low"].notna().any():
        columns["range_used"] = 100 * range_used(manifest, params.image.depth_scaling)
    return manifest.assign(**columns)


def labelled(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with a label: an empty one is no class."""
    return rows[rows["label"].str.strip() != ""]


def classes_table(rows: pd.DataFrame, labels: Iterable[str]) -> pd.DataFrame:
    """A row per class of ``labels``: label, images, how many times smaller than the largest class that is.

    Images are counted that can be decoded; a class with none of them in ``rows`` has 0.
    """
    counts = usable(rows)["label"].value_counts()
    sizes = counts.reindex(sorted(set(labels)), fill_value=0)
    largest = float(sizes.max()) if len(sizes) else 0.0
    table = sizes.rename_axis("label").reset_index(name="images")
    return table.assign(times_smaller=largest / np.maximum(table["images"], 1))


def class_set_table(manifest: pd.DataFrame, model: Iterable[str]) -> pd.DataFrame:
    """A row per class of the data or of a model: label, where (``both``, ``data``, ``model``), found (in words)."""
    import pandas as pd

    in_data, in_model = set(usable(manifest)["label"]), set(model)
    rows = []
    for label in sorted(in_data | in_model):
        where = "both" if label in in_data and label in in_model else "data" if label in in_data else "model"
        words = {"both": "", "data": "is not in the packaged model", "model": "is only in the packaged model"}[where]
        rows.append((label, where, f"class {label!r} {words}".strip()))
    return pd.DataFrame(rows, columns=["label", "where", "found"])


def drift_table(shifts: Iterable[Shift]) -> pd.DataFrame:
    """A row per fact: fact, shift (its distance beyond chance, 0 to 1), found (in words)."""
    import pandas as pd

    rows = [(shift.fact, shift.beyond_chance, f"differs by {shift.distance:.2f}: {shift.found}") for shift in shifts]
    return pd.DataFrame(rows, columns=["fact", "shift", "found"])
