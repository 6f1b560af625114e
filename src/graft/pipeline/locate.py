"""locate: find what data.source, pretrain.source and zoo.candidates name, and link to it, so that DVC sees changes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from graft.core.errors import WeightsError
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.data.protected_paths import refuse_output
from graft.data.sources.listing import SourceListing, SourceSpec
from graft.data.sources.registry import list_source, reader_for
from graft.data.sources.source_links import link_source, link_weights
from graft.pipeline.execution.runner import run_stage
from graft.pretraining.source_dataset import GLYPHS, find_source, named_by_its_key


def run(params: Params, workspace: Workspace) -> None:
    """Read: data.source, pretrain.source, the weights files of zoo.candidates. Write: data/.links/."""
    with tempfile.TemporaryDirectory() as scratch:
        found = list_source(SourceSpec.from_settings(params.data, workspace.root, Path(scratch)))
    with tempfile.TemporaryDirectory() as scratch:
        pretraining = find_source(params.pretrain.source, workspace.root, Path(scratch), params.data.follow_links)
    own = [candidate.weights_file for candidate in params.zoo.candidates if candidate.weights_file is not None]
    for file in own:
        refuse_output(workspace.root / file, workspace.root, WeightsError)
    link_weights(own, workspace.root, workspace.weights_links)
    _link(found, params.data.source, workspace.source_link, "ingest")
    _link(pretraining, params.pretrain.source, workspace.pretraining_link, "gather")


def refuse_missing(params: Params, root: Path) -> None:
    """Refuse settings that name data or weights which are not there, such as a folder that was renamed since.

    A link to what is gone tells DVC nothing but its own name; flows and commands ask here first.

    Raises:
        DataError: there is no such source; the nearest name is proposed.
        WeightsError: there is no such file.
    """
    reader_for(SourceSpec(params.data.source, root, root))
    if params.pretrain.source != GLYPHS:
        with named_by_its_key():
            reader_for(SourceSpec(params.pretrain.source, root, root))
    for candidate in params.zoo.candidates:
        if candidate.weights_file is not None and not (root / candidate.weights_file).is_file():
            raise WeightsError.no_file(root / candidate.weights_file)


def _link(found: SourceListing, source: str, link: Path, reader: str) -> None:
    """Watch one source, and say what was found; ``reader`` is the stage that reads it."""
    trouble = link_source(found, source, link)
    if source != GLYPHS or found.samples:
        print(f"locate: {len(found.samples)} images in {source}")
    if trouble:
        print(
            f"locate: changes of the data will not be noticed, because {trouble}; "
            f"after a change run `dvc repro --force --single-item {reader}`, then `dvc repro`"
        )


if __name__ == "__main__":
    raise SystemExit(run_stage("locate", run))
