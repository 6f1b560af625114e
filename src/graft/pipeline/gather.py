"""gather: list the images that source models are trained on and scored by; the target's test images are left out."""

from __future__ import annotations

import dataclasses
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.files import atomic_dir, atomic_file, write_json
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.modalities.base import Modality
from graft.modalities.registry import find_modality
from graft.pipeline.execution.runner import run_stage
from graft.pretraining.source_dataset import (
    FACTS_FILE,
    GLYPHS,
    HELD_OUT,
    TABLE_FILE,
    TESTED,
    SourceDataset,
    divide_source,
    find_source,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def run(params: Params, workspace: Workspace) -> None:
    """Read: pretrain.source, the manifest and the splits. Write: data/pretraining, and the links to the source anew.

    Raises:
        DataError: the source cannot be found or used.
    """
    source = params.pretrain.source
    if source == GLYPHS:
        with atomic_dir(workspace.gathered) as folder:
            write_json(folder / FACTS_FILE, {"source": GLYPHS})
        print("gather: the source task is rendered characters; there is nothing to list")
        return
    gathered = _gathered(params, workspace)
    with atomic_dir(workspace.gathered) as folder:
        with atomic_file(folder / TABLE_FILE) as beside:
            gathered.table.to_parquet(beside, index=False)
        facts = {"source": source, "data_sha256": gathered.digest, "left_out": dict(gathered.left_out)}
        write_json(folder / FACTS_FILE, facts)
    print(summary(gathered, source))


def _gathered(params: Params, workspace: Workspace) -> SourceDataset:
    from graft.data.ingest import table_in_place
    from graft.data.manifest import build_manifest, with_keys
    from graft.data.sources.source_links import link_source
    from graft.data.stats_cache import StatsCache

    with tempfile.TemporaryDirectory() as scratch:
        found = find_source(params.pretrain.source, workspace.root, Path(scratch), params.data.follow_links)
        table, files = table_in_place(found.samples)
        # A cache of its own: one keeps only so many rows of files that were not asked for last.
        modality = find_modality(params.data.modality)
        manifest = build_manifest(table, files, modality, cache=StatsCache(workspace.cache / "pretraining"))
    # Once more after `locate`: a table that gained rows may need a higher folder to be watched.
    link_source(found, params.pretrain.source, workspace.pretraining_link)
    distance = params.validation.near_duplicate_distance
    tested = tested_images(workspace, modality)
    return divide_source(with_keys(manifest, modality), tested, distance, partial(held_out, params))


def held_out(params: Params, rows: pd.DataFrame, groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which source images are scored by: the stateless draw of the target's test, with a share of its own.

    One group of each class always stays to be trained on.
    """
    from graft.data.splits.hash_split import hash_split

    data = dataclasses.replace(params.data, test_fraction=params.pretrain.held_out, train_per_class=None)
    select = dataclasses.replace(params.select, folds=2)
    return hash_split(rows, groups, dataclasses.replace(params, data=data, select=select)).tested


def tested_images(workspace: Workspace, modality: Modality) -> pd.DataFrame:
    """The keys of the images that the target is tested on; no image is opened."""
    import pandas as pd

    from graft.data.manifest import with_keys

    splits = pd.read_parquet(workspace.splits, columns=["path", "split"])
    tested = splits[splits["split"] == "test"]
    keys = [modality.fingerprint_column, modality.near_key_column]
    rows = pd.read_parquet(workspace.manifest, columns=["path", *keys])
    return with_keys(rows[rows["path"].isin(tested["path"])], modality).reset_index(drop=True)


def summary(gathered: SourceDataset, source: str) -> str:
    """What was gathered and what was left out, for the log."""
    held_out = int((gathered.table["split"] == HELD_OUT).sum())
    lines = [
        f"gather: {len(gathered.table) - held_out} images of {len(gathered.classes)} classes of {source} to pretrain "
        f"on, {held_out} to score by"
    ]
    lines += [f"  left out: {count} that {why}" for why, count in gathered.left_out.items()]
    if TESTED in gathered.left_out:
        lines.append("  a model that had seen those would flatter the test's figures")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(run_stage("gather", run))
