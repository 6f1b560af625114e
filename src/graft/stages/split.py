"""split: divide the validated images into train folds and test."""

from __future__ import annotations

import pandas as pd

from graft.files import whole_file
from graft.images.splits import Division, divide
from graft.settings import Params
from graft.stages.runner import run_stage
from graft.workspace import Workspace

_NAMED = 5


def run(params: Params, workspace: Workspace) -> None:
    """Read: data/manifest.parquet. Write: data/splits.parquet."""
    manifest = pd.read_parquet(workspace.manifest)
    division = divide(manifest, params)
    with whole_file(workspace.splits) as beside:
        division.table.to_parquet(beside, index=False)
    print(summary(division, len(manifest), params.select.folds))
    if params.data.train_per_class is not None and manifest["split"].notna().any():
        print("split: the data came divided, so data.train_per_class says nothing")


def summary(division: Division, images: int, folds: int) -> str:
    """What was divided how, for the log; ``images`` are all of the manifest's."""
    sizes = division.table["split"].value_counts()
    left_out = images - len(division.table)
    lines = [
        f"split: {sizes['train']} images to train on in {folds} folds, {sizes['test']} to test on"
        + (f"; {left_out} left out" if left_out else "")
    ]
    if joined := sum(division.joined.values()):
        lines.append(f"  {joined} of these are tested because they look like a test image or share a group with one")
    for label, paths in list(division.lent.items())[:_NAMED]:
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        lines.append(
            f"  none of class {label!r} was drawn for the test, so it lends {paths[0]}{more}, which may go back to"
            " training when images are added"
        )
    if len(division.lent) > _NAMED:
        lines.append(f"  and so do {len(division.lent) - _NAMED} more classes")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(run_stage("split", run))
