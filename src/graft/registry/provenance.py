"""Provenance of a model: hashes of its data and settings, and the commit of the code."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from graft.core.config import deciding
from graft.core.files import sha256
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.inference.artifact import Artifact
from graft.registry.git import Checkout

# Files whose change since the commit would make another model, or make it differently.
_CODE = ("src", "dvc.yaml", "params.yaml")


@dataclass(frozen=True)
class Origin:
    """Provenance of a model.

    Attributes:
        data: SHA-256 of every image's path, label, side and content; None where the data at hand is not the model's.
        params: SHA-256 of every setting that decides a result, defaults included, whatever their order.
        commit: git's commit, with ``-dirty`` where code or settings had changed since; None without git.
    """

    data: str | None
    params: str
    commit: str | None

    def to_json(self) -> dict[str, str | None]:
        """As package.json has it."""
        return dataclasses.asdict(self)


def origin_of(params: Params, workspace: Workspace, artifact: Artifact) -> Origin:
    """The origin of the model with this model.json, as it is told right after it was made."""
    checkout = Checkout.of(workspace.root)
    return Origin(
        data=data_hash(workspace, artifact),
        params=_digest(json.dumps(deciding(params), sort_keys=True, default=str)),
        commit=None if checkout is None else checkout.head(*_CODE),
    )


def data_hash(workspace: Workspace, artifact: Artifact) -> str | None:
    """Hash of the data: the same for the same images with the same labels and division, wherever they lie.

    None where the tables are not here, or the division is not the one that the model was trained on.
    """
    if not (workspace.splits.exists() and workspace.manifest.exists()):
        return None
    if artifact.provenance.get("splits_sha256") not in {None, sha256(workspace.splits)}:
        return None
    import pandas as pd

    splits = pd.read_parquet(workspace.splits, columns=["path", "label", "split"])
    manifest = pd.read_parquet(workspace.manifest, columns=["path", "sha256"])
    rows = splits.merge(manifest, on="path", how="left", validate="one_to_one").sort_values("path")
    return _digest(json.dumps(rows[["path", "label", "split", "sha256"]].astype(str).values.tolist()))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
