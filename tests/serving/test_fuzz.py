"""Thousands of damaged images and requests, and whatever the service's own document allows: nothing of it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from benchmarks.fuzz_service import QUICK, Service, fuzz, is_well, served, write_project
from graft.modalities.registry import DEFAULT
from graft.serving.routes import create_app
from graft.serving.settings import ServiceSettings


def no_service() -> Any:
    raise AssertionError("the document alone is asked for")


DOCUMENT = schemathesis.openapi.from_dict(create_app(no_service, ServiceSettings.from_environment(), DEFAULT).openapi())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    root: Path = tmp_path_factory.mktemp("fuzzed")
    write_project(root)
    with served(root) as running:
        yield running


@pytest.mark.slow
@given(case=DOCUMENT.as_strategy())
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
def test_what_the_document_allows_is_answered_as_the_document_says(service: Service, case: schemathesis.Case) -> None:
    answer = case.call(base_url=f"http://127.0.0.1:{service.port}", timeout=120)
    assert answer.status_code < 500
    case.validate_response(answer, checks=[schemathesis.checks.not_a_server_error])


@pytest.mark.slow
def test_two_thousand_damaged_images_and_requests(service: Service) -> None:
    found = fuzz(service, QUICK)
    assert is_well(found), found
    assert {"200", "400", "404", "405"} <= set(found["answers"])
    assert sum(found["answers"].values()) == QUICK
