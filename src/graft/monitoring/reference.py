"""The reference of monitoring: features of the training set, and predictions on the test set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.errors import DataError, GraftError
from graft.core.packed_files import open_folder
from graft.data.validation.drift import Distribution, Shares, summarise
from graft.inference.artifact import read_artifact
from graft.inference.package import version_of
from graft.modalities.base import column_feature
from graft.modalities.image.modality import ImageModality
from graft.modalities.image.stats import Tones

if TYPE_CHECKING:
    import pandas as pd

    from graft.core.workspace import Workspace

# Enough to tell distributions apart by a fifth, and opened in seconds.
MOST_OPENED = 400
CONFIDENCE = column_feature("confidence", "number")
UNSURE = column_feature("unsure", "category", name="not sure")
UNLIKE = column_feature("unlike", "category", name="unlike the training images")
_FEATURES = {feature.name: feature for feature in ImageModality.drift_features}
_KNOWN_BEFOREHAND = ("class", "brightness", "contrast", "shorter side", "width over height")
# In the order in which they are shown.
WATCHED = (*(_FEATURES[name] for name in _KNOWN_BEFOREHAND), CONFIDENCE, UNSURE, UNLIKE)


def training_facts(workspace: Workspace) -> dict[str, Distribution]:
    """Classes, sizes and tones of the training images.

    The log has the tones of the network's input, the manifest those of the files. So a sample of the training images is
    preprocessed again.

    Raises:
        GraftError: the project has no data or no model.
    """
    import pandas as pd

    for path in (workspace.splits, workspace.manifest):
        if not path.exists():
            raise GraftError(
                "there is no training data to compare with", where=path, remedy="run `.venv/bin/dvc repro`"
            )
    splits = pd.read_parquet(workspace.splits, columns=["path", "label", "split"])
    manifest = pd.read_parquet(workspace.manifest, columns=["path", "width", "height"])
    rows = splits[splits["split"] == "train"].merge(manifest, on="path").sort_values("path", ignore_index=True)
    return summarise(rows, WATCHED) | summarise(_tones(workspace, rows["path"]), WATCHED)


def test_facts(workspace: Workspace) -> dict[str, Distribution]:
    """Confidence, abstentions and novelty on the test set; empty where they are not known."""
    import pandas as pd

    try:
        said = pd.read_csv(workspace.evaluation / "predictions.csv", usecols=["confidence"])
        metrics: dict[str, Any] = json.loads((workspace.evaluation / "metrics.json").read_text(encoding="utf-8"))
        threshold = read_artifact(workspace.finetuned).trust.threshold.confidence
    except (OSError, ValueError, GraftError):
        return {}
    found = summarise(said.assign(unsure=said["confidence"] < threshold), (CONFIDENCE, UNSURE))
    usual = (metrics.get("novelty") or {}).get("usual")
    if isinstance(usual, int | float):
        unlike = round((1 - usual) * len(said))
        found[UNLIKE.name] = Shares({"False": len(said) - unlike, "True": unlike})
    return found


def evaluated_version(workspace: Workspace) -> str | None:
    """The version of the model that :func:`test_facts` are of."""
    try:
        return version_of(workspace.finetuned)
    except OSError:
        return None


def _tones(workspace: Workspace, paths: pd.Series) -> pd.DataFrame:
    import pandas as pd

    geometry = read_artifact(workspace.production_model).preprocessing.geometry
    chosen = paths.iloc[np.unique(np.linspace(0, len(paths) - 1, min(MOST_OPENED, len(paths)), dtype=np.intp))]
    raw, rows = open_folder(workspace.raw), []
    for path in chosen:
        try:
            prepared = geometry.load(raw / path)
        except DataError:
            continue  # validation's business
        tones = Tones.of_pixels(prepared)
        rows.append((tones.brightness, tones.contrast))
    return pd.DataFrame(rows, columns=["brightness", "contrast"])
