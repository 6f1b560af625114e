"""locate: find what data.source names and make the links through which DVC notices that it changed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from graft.images.sources import find_images
from graft.images.watch import watch
from graft.settings import Params
from graft.stages.runner import run_stage
from graft.workspace import Workspace


def run(params: Params, workspace: Workspace) -> None:
    """Read: data.source. Write: data/source/."""
    source = params.data.source
    with tempfile.TemporaryDirectory() as scratch:
        found = find_images(source, workspace.root, Path(scratch), params.data.follow_links)
    trouble = watch(found, source, workspace.root, workspace.source_link)
    print(f"locate: {len(found.records)} images in {source}")
    if trouble:
        print(
            f"locate: changes of the data will not be noticed, because {trouble}; "
            "after a change run `dvc repro --force --single-item ingest`, then `dvc repro`"
        )


if __name__ == "__main__":
    raise SystemExit(run_stage("locate", run))
