"""ingest: take the images of data.source into data/raw, as files that share blocks where possible, or packed."""

from __future__ import annotations

import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

from graft.core.files import atomic_dir, atomic_file
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.data.ingest import copy_images
from graft.data.packing import pack_images
from graft.data.sources.labels import nested_classes
from graft.data.sources.listing import SourceListing, SourceSpec
from graft.data.sources.registry import list_source
from graft.data.sources.source_links import link_source
from graft.pipeline.execution.runner import run_stage

_NAMED = 5


def run(params: Params, workspace: Workspace) -> None:
    """Read: data.source. Write: data/raw/, data/ingested.parquet, and the links of data/.links/ anew."""
    source = params.data.source
    take_in = partial(pack_images, shards=params.data.pack) if params.data.pack else copy_images
    workspace.cache.mkdir(parents=True, exist_ok=True)
    # The second one goes before the first is flushed to disk: removing files that were written out is slow.
    with (
        atomic_dir(workspace.raw) as folder,
        tempfile.TemporaryDirectory(dir=workspace.cache, prefix="ingest.") as scratch,
    ):
        found = list_source(SourceSpec.from_settings(params.data, workspace.root, Path(scratch)))
        table = take_in(found.samples, folder)
    with atomic_file(workspace.ingested) as beside:
        table.to_parquet(beside, index=False)
    # Once more after `locate`: a table that gained rows may need a higher folder to be watched.
    link_source(found, source, workspace.source_link)
    print(summary(found, source))


def summary(found: SourceListing, source: str) -> str:
    """What was taken in and what was passed over, for the log."""
    classes = Counter(sample.label for sample in found.samples)
    lines = [f"ingest: {len(found.samples)} images of {len(classes)} classes from {source}"]
    if found.table is None and found.watched is not None:
        nested = nested_classes(found.samples)
        lines += [
            f"  class {label!r} is divided into {len(names)} folders, which are no classes: {', '.join(names[:3])}"
            + (", ..." if len(names) > 3 else "")
            for label, names in list(nested.items())[:_NAMED]
        ]
        if len(nested) > _NAMED:
            lines.append(f"  and so are {len(nested) - _NAMED} more classes")
    reasons = Counter(item.why for item in found.skipped)
    for why, count in sorted(reasons.items()):
        example = next(item.path for item in found.skipped if item.why == why)
        lines.append(f"  passed over: {count} ({why}), such as {example}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(run_stage("ingest", run))
