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
    """How many images are new, gone, or of another label under the same name; and how many the source holds now."""

    new: int
    gone: int
    relabelled: int
    held: int

    def describe(self) -> str:
        """For people; where names and labels are as they were, files were changed in place."""
        words = ((self.new, "new"), (self.gone, "gone"), (self.relabelled, "with another label"))
        changed = ", ".join(f"{count:,} {word}" for count, word in words if count)
        return f"{self.held:,} images, {changed or 'some changed in place'}"

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
    relabelled = sum(now[name] != before[name] for name in now.keys() & before.keys())
    return SourceChanges(len(now.keys() - before.keys()), len(before.keys() - now.keys()), relabelled, len(now))
