"""The reference of monitoring: features of the training set, and predictions on the test set."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.errors import DataError, GraftError
from graft.core.packed_files import open_folder, read_bytes
from graft.data.validation.drift import Distribution, Shares, summarise
from graft.inference.artifact import read_artifact
from graft.inference.package import version_of
from graft.modalities.base import Feature, Modality, column_feature
from graft.modalities.registry import modality_of

if TYPE_CHECKING:
    import pandas as pd

    from graft.core.workspace import Workspace
    from graft.modalities.preprocessor import Preprocessor

# Enough to tell distributions apart by a fifth, and opened in seconds.
MOST_OPENED = 400
CONFIDENCE = column_feature("confidence", "number")
UNSURE = column_feature("unsure", "category", name="not sure")
UNLIKE = column_feature("unlike", "category", name="unlike the training images")
LABEL = column_feature("label", "category", name="class")


def watched(modality: Modality) -> tuple[Feature, ...]:
    """What is compared, in the order in which it is shown."""
    return (LABEL, *modality.request_features, CONFIDENCE, UNSURE, UNLIKE)


def served_modality(workspace: Workspace) -> Modality:
    """What the production model's samples are. Raises WeightsError where there is no model."""
    return modality_of(read_artifact(workspace.production_model).preprocessing)


def training_facts(workspace: Workspace) -> dict[str, Distribution]:
    """Classes of the training samples, and of some of them what the log would have kept of a request with them.

    Raises:
        GraftError: the project has no data or no model.
    """
    import pandas as pd

    if not workspace.splits.exists():
        raise GraftError(
            "there is no training data to compare with", where=workspace.splits, remedy="run `.venv/bin/dvc repro`"
        )
    splits = pd.read_parquet(workspace.splits, columns=["path", "label", "split"])
    rows = splits[splits["split"] == "train"].sort_values("path", ignore_index=True)
    preprocessing = read_artifact(workspace.production_model).preprocessing
    stats = _request_stats(workspace, rows["path"], preprocessing)
    return summarise(rows, (LABEL,)) | summarise(stats, modality_of(preprocessing).request_features)


def test_facts(workspace: Workspace) -> dict[str, Distribution]:
    """Confidence, abstentions and novelty on the test set; empty where they are not known."""
    import pandas as pd

    try:
        said = pd.read_csv(workspace.evaluation / "predictions.csv", usecols=["confidence"])
        metrics: dict[str, Any] = json.loads(workspace.metrics.read_text(encoding="utf-8"))
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


def _request_stats(workspace: Workspace, paths: pd.Series, preprocessing: Preprocessor) -> pd.DataFrame:
    import pandas as pd

    modality = modality_of(preprocessing)
    chosen = paths.iloc[np.unique(np.linspace(0, len(paths) - 1, min(MOST_OPENED, len(paths)), dtype=np.intp))]
    folder, rows = open_folder(workspace.raw), []
    for path in chosen:
        with suppress(DataError):  # validation's business
            raw = read_bytes(folder / path)
            rows.append(modality.request_stats(raw, preprocessing.load(raw)))
    return pd.DataFrame(rows)
