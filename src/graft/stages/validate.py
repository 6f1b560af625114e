"""validate: decode every image once, hold the expectations against what was found, and refuse what is critical."""

from __future__ import annotations

from graft.config import Params
from graft.errors import DataError
from graft.files import whole_file
from graft.images.facts_cache import FactsCache
from graft.images.manifest import build_manifest
from graft.stages.runner import run_stage
from graft.validation.findings import Finding
from graft.validation.report import PAGE_FILE, summarise, write_report
from graft.validation.suite import validate_manifest
from graft.workspace import Workspace


def run(params: Params, workspace: Workspace) -> None:
    """Read: data/raw/, data/ingested.parquet. Write: data/manifest.parquet, reports/validation/.

    Raises:
        DataError: a critical expectation is not met; manifest and report are written first.
    """
    # Not above: the processes that read images import this file too, and have no use for tables.
    import pandas as pd

    table = pd.read_parquet(workspace.ingested)
    files = [workspace.raw / path for path in table["path"]]
    manifest = build_manifest(table, files, cache=FactsCache(workspace.cache))
    findings = validate_manifest(manifest, params.validation)
    with whole_file(workspace.manifest) as beside:
        manifest.to_parquet(beside, index=False)
    write_report(workspace.validation, summarise(manifest, params.data.source), findings, workspace.raw.joinpath)
    for finding in findings:
        if not finding.success and not finding.stops:
            print(f"validate: {finding.severity}: {finding.sentence()}")
    stopping = [finding for finding in findings if finding.stops]
    if stopping:
        raise refusal(stopping, workspace)
    print(f"validate: {len(manifest)} images meet all that is critical; see {workspace.validation / PAGE_FILE}")


def refusal(stopping: list[Finding], workspace: Workspace) -> DataError:
    """The message that names each check, its first files and the page with all of them."""
    lines = "".join(f"\n  {finding.sentence()}" for finding in stopping)
    return DataError(
        f"the data is refused:{lines}",
        where=workspace.validation / PAGE_FILE,
        remedy="; ".join(finding.remedy for finding in stopping),
    )


if __name__ == "__main__":
    raise SystemExit(run_stage("validate", run))
