"""The tables that are validated, made from the manifest: a row per sample, per class, per class name, per feature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from graft.data.manifest import usable, with_keys
from graft.data.splits.groups import conflicting, image_clusters, join_groups, straddling
from graft.data.validation.drift import Shift
from graft.data.validation.findings import About
from graft.modalities.base import Modality
from graft.modalities.check_spec import TableName

if TYPE_CHECKING:
    import pandas as pd

# The column that names a row of each table, and what a row is.
KEYS: Mapping[TableName, str] = {"images": "path", "classes": "label", "class_set": "label", "drift": "feature"}
ABOUT: Mapping[TableName, About] = {"images": "file", "classes": "class", "class_set": "class", "drift": "feature"}


def relate(manifest: pd.DataFrame, modality: Modality, distance: int) -> pd.DataFrame:
    """The manifest with what takes long to find: cluster (near copies), scene and, of given splits, related.

    ``scene`` says which samples look like one of another class, where most do. ``related`` numbers groups that must
    stay on one side: clusters and the user's groups, joined. Where the source gives no splits every row is its own.
    """
    rows = with_keys(manifest, modality)
    clusters, scene = image_clusters(rows, distance)
    divided = rows["split"].notna().any()
    # A missing label would count as met, for expectations ignore what is missing.
    return rows.assign(
        label=rows["label"].fillna(""),
        cluster=clusters,
        scene=scene,
        related=join_groups(rows, clusters) if divided else np.arange(len(rows)),
    )


def images_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`relate` with what concerns several of them.

    Added columns: copies (size of its cluster), conflict (same content, other label), straddles (its group is on both
    given sides). And of copies, which quarantine keeps: first_copy (of each label in its cluster one: a test sample
    before others, then the first by path) and test_copy (what is given to the test). A sample with two labels is kept:
    a person has to say which is wrong.
    """
    conflict = conflicting(rows)
    in_test = (rows["split"] == "test").fillna(False).astype(bool)
    order = rows.assign(later=~in_test).sort_values(["later", "path"])
    return rows.assign(
        copies=rows.groupby("cluster")["path"].transform("size"),
        conflict=conflict,
        straddles=straddling(rows, rows["related"].to_numpy()),
        test_copy=in_test | conflict,
        first_copy=~order.duplicated(["cluster", "label"]).reindex(rows.index),
    )


def labelled(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with a label: an empty one is no class."""
    return rows[rows["label"].str.strip() != ""]


def classes_table(rows: pd.DataFrame, labels: Iterable[str]) -> pd.DataFrame:
    """A row per class of ``labels``: label, images, how many times smaller than the largest class that is.

    Samples are counted that can be decoded; a class with none of them in ``rows`` has 0.
    """
    counts = usable(rows)["label"].value_counts()
    sizes = counts.reindex(sorted(set(labels)), fill_value=0)
    largest = float(sizes.max()) if len(sizes) else 0.0
    table = sizes.rename_axis("label").reset_index(name="images")
    return table.assign(times_smaller=largest / np.maximum(table["images"], 1))


def class_set_table(rows: pd.DataFrame, model: Iterable[str]) -> pd.DataFrame:
    """A row per class of the data or of a model: label, where (``both``, ``data``, ``model``), found (in words)."""
    import pandas as pd

    in_data, in_model = set(usable(rows)["label"]), set(model)
    found = [(label, "both", f"class {label!r}") for label in in_data & in_model]
    found += [(label, "data", f"class {label!r} is not in the packaged model") for label in in_data - in_model]
    found += [(label, "model", f"class {label!r} is only in the packaged model") for label in in_model - in_data]
    return pd.DataFrame(sorted(found), columns=["label", "where", "found"])


def drift_table(shifts: Iterable[Shift], paths: pd.Series) -> pd.DataFrame:
    """A row per feature: feature, shift (its distance beyond chance, 0 to 1), found (in words), example (a path)."""
    import pandas as pd

    rows = [
        (
            shift.feature,
            shift.beyond_chance,
            f"differs by {shift.distance:.2f}: {shift.found}",
            paths.iloc[shift.example],
        )
        for shift in shifts
    ]
    return pd.DataFrame(rows, columns=["feature", "shift", "found", "example"])
