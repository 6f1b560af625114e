"""Validation's findings on Prefect's page: a table where the data passes, and above all where it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from flows.pipeline import pipeline
from graft.data.validation.findings import FailingItem, Finding
from graft.data.validation.report import summarise
from tests.flows.toy import Toy

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(600)]

STAGE = """\
  validate:
    cmd: sh validate.sh
    deps: [validate.sh, found.json]
    outs: [reports/validation]
"""
SMALL = FailingItem("a/1.png", "a/1.png", "class 'a'")
FOUND = (
    Finding("decodable", "critical", True, "every file is an image"),
    Finding(
        "balance", "warning", False, "no class is small", 1, (FailingItem("a/1.png", "a/1.png", "class 'a'"),), "add"
    ),
    Finding(
        "brightness",
        "critical",
        False,
        "none is dark",
        4,
        tuple(FailingItem(f"a/{number}.png", f"a/{number}.png", "0.0") for number in range(4)),
        "look",
    ),
)


def artifact(state: Any) -> Any:
    run: UUID = state.state_details.flow_run_id
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    with get_client(sync_client=True) as client:
        found = {str(item.key).rpartition("-")[2]: item for item in client.read_artifacts(artifact_filter=chosen)}
    return found.get("validation")


@pytest.fixture
def validating(toy: Toy) -> Path:
    """The toy with a stage that writes real findings and ends as ``validate.sh`` says."""
    dvc = toy.root / "dvc.yaml"
    dvc.write_text(dvc.read_text() + STAGE)
    manifest = pd.DataFrame({"path": ["a/1.png"], "label": ["a"], "problems": [None], "quarantine": [None]})
    summary = summarise(manifest, "photos", FOUND, {"drift": "there is no other validated data to compare with"})
    found = {**summary, "expectations": [finding.to_dict() for finding in FOUND]}
    (toy.root / "found.json").write_text(json.dumps(found))
    return toy.root


def validate(root: Path, command: str) -> Any:
    (root / "validate.sh").write_text(f"mkdir -p reports/validation\n{command}\n")
    return pipeline(str(root), ("validate",), return_state=True)


COPY = "cp found.json reports/validation/validation.json"


def test_findings_are_a_table_with_the_gravest_first(validating: Path) -> None:
    state = validate(validating, COPY)
    assert state.is_completed()
    shown = artifact(state)
    rows = json.loads(shown.data)
    assert [(row["check"], row["result"]) for row in rows] == [
        ("brightness", "critical"),
        ("balance", "warning"),
        ("decodable", "met"),
        ("drift", "not checked"),
    ]
    assert rows[0] == {
        "check": "brightness",
        "result": "critical",
        "expected": "none is dark",
        "broken by": 4,
        "named": "a/0.png (0.0), a/1.png (0.0), a/2.png (0.0) and 1 more",
        "to do": "look",
    }
    assert shown.description == "What validation found in photos: this data is refused"


def test_where_the_data_is_refused_the_findings_are_shown_as_well(validating: Path) -> None:
    state = validate(validating, f"{COPY}\nexit 1")
    assert state.is_failed()
    assert json.loads(artifact(state).data)[0]["check"] == "brightness"


def test_findings_of_an_earlier_run_are_not_shown_for_one_that_found_nothing(validating: Path) -> None:
    # DVC clears what is not persistent before a stage runs; nothing here relies on that.
    dvc = validating / "dvc.yaml"
    dvc.write_text(dvc.read_text().replace("[reports/validation]", "[{reports/validation: {persist: true}}]"))
    assert validate(validating, COPY).is_completed()
    state = validate(validating, "exit 1")
    assert state.is_failed()
    assert (validating / "reports/validation/validation.json").exists()
    assert artifact(state) is None
