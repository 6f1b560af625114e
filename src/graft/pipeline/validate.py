"""validate: decode every file once, run the checks on the manifest, and refuse what is critical."""

from __future__ import annotations

from graft.core.errors import DataError, WeightsError
from graft.core.files import atomic_file
from graft.core.packed_files import open_folder, read_bytes
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.data.manifest import build_manifest
from graft.data.stats_cache import StatsCache
from graft.data.validation.builtin_checks import checks_of
from graft.data.validation.findings import Finding, by_cause
from graft.data.validation.reference import read_history, summarise_data, write_history
from graft.data.validation.report import PAGE_FILE, summarise, write_report
from graft.data.validation.suite import Reference, not_checked, severities, validate_manifest, with_quarantine
from graft.inference.artifact import ARTIFACT_FILE, read_artifact
from graft.modalities.registry import find_modality
from graft.pipeline.execution.runner import run_stage
from graft.tasks.registry import find_task


def run(params: Params, workspace: Workspace) -> None:
    """Read: data/raw/, data/ingested.parquet, and for comparison models/packaged and data/validated.json, if there.

    Write: data/manifest.parquet, reports/validation/, and where the data passes data/validated.json.

    Raises:
        DataError: a critical expectation is not met; manifest and report are written first.
        ConfigError: validation.severity says what it must not.
    """
    # Not above: processes that decode import this file too.
    import pandas as pd

    modality = find_modality(params.data.modality)
    severities(checks_of(modality), params.validation)
    history = read_history(workspace.validated)
    table = pd.read_parquet(workspace.ingested)
    raw = open_folder(workspace.raw)
    files = [raw / path for path in table["path"]]
    manifest = build_manifest(table, files, modality, cache=StatsCache(workspace.cache))
    data = summarise_data(manifest, modality, find_task(params.data.task))
    # The model is made from this stage's data, so it cannot be a dependency in dvc.yaml: that would be a cycle. It need
    # not be: a new model does not make a finding about the same data less true, and new data runs this stage anyway.
    classes, trouble = classes_in_use(workspace)
    if trouble:
        print(f"validate: the classes are not compared with the packaged model's: {trouble}")
    reference = Reference(classes, history.reference(data))
    findings = validate_manifest(manifest, params, reference)
    kept = with_quarantine(manifest, findings)
    with atomic_file(workspace.manifest) as beside:
        kept.to_parquet(beside, index=False)
    summary = summarise(kept, params.data.source, findings, not_checked(manifest, params, reference))
    write_report(workspace.validation, kept, summary, findings, lambda path: modality.preview(read_bytes(raw / path)))
    broken = by_cause(findings)
    for finding in broken:
        if not finding.stops:
            print(f"validate: {finding.severity}: {finding.sentence()}")
    stopping = [finding for finding in broken if finding.stops]
    if stopping:
        raise refusal(stopping, workspace)
    # Last, so that what is killed before it is compared with the same data again; and never by data that is refused.
    write_history(workspace.validated, history.passed(data))
    print(f"validate: {len(manifest)} images meet all that is critical; see {workspace.validation / PAGE_FILE}")


def classes_in_use(workspace: Workspace) -> tuple[tuple[str, ...] | None, str | None]:
    """The packaged model's classes, None where there are none to compare with; and what is wrong with it."""
    try:
        return read_artifact(workspace.packaged).classes or None, None
    except WeightsError as error:
        return None, error.what if (workspace.packaged / ARTIFACT_FILE).exists() else None


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
