"""locate: find what data.source, pretrain.source and zoo.candidates name, and link to it, so that DVC sees changes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from graft.images.records import Found
from graft.images.sources import find_images
from graft.images.watch import watch, watch_weights
from graft.pretrain.gathering import GLYPHS, find_source
from graft.settings import Params
from graft.stages.runner import run_stage
from graft.workspace import Workspace


def run(params: Params, workspace: Workspace) -> None:
    """Read: data.source, pretrain.source, the weights files of zoo.candidates. Write: data/.links/."""
    with tempfile.TemporaryDirectory() as scratch:
        found = find_images(params.data.source, workspace.root, Path(scratch), params.data.follow_links)
    with tempfile.TemporaryDirectory() as scratch:
        pretraining = find_source(params, workspace.root, Path(scratch))
    own = [candidate.weights_file for candidate in params.zoo.candidates]
    watch_weights([file for file in own if file is not None], workspace.root, workspace.weights_links)
    _link(found, params.data.source, workspace.root, workspace.source_link, "ingest")
    _link(pretraining, params.pretrain.source, workspace.root, workspace.pretraining_link, "gather")


def _link(found: Found, source: str, root: Path, link: Path, reader: str) -> None:
    """Watch one source, and say what was found; ``reader`` is the stage that reads it."""
    trouble = watch(found, source, root, link)
    if source != GLYPHS or found.records:
        print(f"locate: {len(found.records)} images in {source}")
    if trouble:
        print(
            f"locate: changes of the data will not be noticed, because {trouble}; "
            f"after a change run `dvc repro --force --single-item {reader}`, then `dvc repro`"
        )


if __name__ == "__main__":
    raise SystemExit(run_stage("locate", run))
