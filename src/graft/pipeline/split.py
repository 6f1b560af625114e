"""split: divide the validated images into train folds and test."""

from __future__ import annotations

import pandas as pd

from graft.core.files import atomic_file
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.data.splits.history import SplitHistory, asked_of, read_split_history, write_split_history
from graft.data.splits.splits import DataSplit, divide
from graft.pipeline.execution.runner import run_stage

_NAMED = 5


def run(params: Params, workspace: Workspace) -> None:
    """Read: data/manifest.parquet, data/split_history.json. Write: data/splits.parquet, data/split_history.json.

    Raises:
        DataError: the images cannot be divided, or the history is damaged.
    """
    manifest = pd.read_parquet(workspace.manifest)
    history = read_split_history(workspace.split_history)
    result = divide(manifest, params, history)
    if result.history is not None:
        print(remembered(history, params))
    with atomic_file(workspace.splits) as beside:
        result.table.to_parquet(beside, index=False)
    # Last: a run that is killed before it divides again by what is remembered, which gives the same.
    write_split_history(workspace.split_history, result.history or history or SplitHistory({}))
    print(summary(result, len(manifest), params.select.folds))
    if params.data.train_per_class is not None and manifest["split"].notna().any():
        print("split: the data came divided, so data.train_per_class says nothing")


def remembered(history: SplitHistory | None, params: Params) -> str:
    """Whether earlier divisions are kept to, for the log."""
    if history is None or not history.tested:
        return "split: no earlier division is remembered, so the test is drawn anew"
    if history.asked == asked_of(params):
        return "split: what was tested before stays tested, and what was trained on is not tested"
    before = ", ".join(f"{key} {value}" for key, value in history.asked.items())
    return f"split: the test is drawn anew, because it was drawn by other settings before ({before})"


def summary(result: DataSplit, images: int, folds: int) -> str:
    """What was divided how, for the log; ``images`` are all of the manifest's."""
    sizes = result.table["split"].value_counts()
    left_out = images - len(result.table)
    lines = [
        f"split: {sizes['train']} images to train on in {folds} folds, {sizes['test']} to test on"
        + (f"; {left_out} left out" if left_out else "")
    ]
    if pulled_in := sum(result.pulled_in_by_group.values()):
        lines.append(f"  {pulled_in} of these are tested because they look like a test image or share a group with one")
    for label, paths in list(result.borrowed.items())[:_NAMED]:
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        lines.append(
            f"  none of class {label!r} was drawn for the test, so it lends {paths[0]}{more}, which may go back to"
            " training when images are added"
        )
    if len(result.borrowed) > _NAMED:
        lines.append(f"  and so do {len(result.borrowed) - _NAMED} more classes")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(run_stage("split", run))
