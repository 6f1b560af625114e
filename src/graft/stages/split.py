"""split: divide the validated images into train folds and test."""

from __future__ import annotations

import pandas as pd

from graft.config import Params
from graft.files import whole_file
from graft.images.splits import make_splits
from graft.stages.runner import run_stage
from graft.workspace import Workspace


def run(params: Params, workspace: Workspace) -> None:
    """Read: data/manifest.parquet. Write: data/splits.parquet."""
    manifest = pd.read_parquet(workspace.manifest)
    table = make_splits(manifest, params)
    with whole_file(workspace.splits) as beside:
        table.to_parquet(beside, index=False)
    sizes = table["split"].value_counts()
    left_out = len(manifest) - len(table)
    print(
        f"split: {sizes['train']} images to train on in {params.select.folds} folds, {sizes['test']} to test on"
        + (f"; {left_out} left out" if left_out else "")
    )
    if params.data.train_per_class is not None and manifest["split"].notna().any():
        print("split: the data came divided, so data.train_per_class says nothing")


if __name__ == "__main__":
    raise SystemExit(run_stage("split", run))
