"""Compare the source with the last ingest: samples that are new, gone or relabelled."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.data.sources.listing import SourceSpec
from graft.data.sources.registry import list_source

if TYPE_CHECKING:
    from graft.core.settings import Params
    from graft.core.workspace import Workspace


@dataclass(frozen=True)
class SourceChanges:
    """Counts of new, gone and relabelled samples.

    Attributes:
        new: images that were not taken in.
        gone: images that were, and are no more.
        relabelled: images under the same name with another label.
        held: images that the source holds now.
    """

    new: int
    gone: int
    relabelled: int
    held: int

    def describe(self) -> str:
        """For people; where names and labels are as they were, files were changed in place."""
        parts = [
            f"{count:,} {word}"
            for count, word in ((self.new, "new"), (self.gone, "gone"), (self.relabelled, "with another label"))
            if count
        ]
        return f"{self.held:,} images, {', '.join(parts) if parts else 'some changed in place'}"

    def brief(self) -> str:
        """Only what changed, such as ``997 new images``."""
        words = ((self.new, "new images"), (self.gone, "images gone"), (self.relabelled, "images with another label"))
        return ", ".join(f"{count:,} {word}" for count, word in words if count) or "images changed in place"


def compare_with_ingested(params: Params, workspace: Workspace) -> SourceChanges:
    """List the source of ``params`` (no image is read) and compare it with data/ingested.parquet.

    Raises:
        DataError: there is no such source, or it holds no image with a label.
    """
    import pandas as pd

    with tempfile.TemporaryDirectory() as scratch:
        found = list_source(SourceSpec.from_settings(params.data, workspace.root, Path(scratch)))
    now = {sample.source: sample.label for sample in found.samples}
    before: dict[str, str] = {}
    if workspace.ingested.exists():
        table = pd.read_parquet(workspace.ingested, columns=["source", "label"])
        before = dict(zip(table["source"], table["label"], strict=True))
    kept = now.keys() & before.keys()
    return SourceChanges(
        new=len(now.keys() - before.keys()),
        gone=len(before.keys() - now.keys()),
        relabelled=sum(now[name] != before[name] for name in kept),
        held=len(now),
    )
