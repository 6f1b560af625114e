"""Thousands of damaged images and requests, and whatever the service's own document allows: nothing of it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_service import QUICK, Service, fuzz, is_well, served, write_project
from graft.errors import DataError
from graft.serve.forms import read_form
from graft.serve.openapi import Document

DOCUMENT = schemathesis.openapi.from_dict(Document().asdict())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    root: Path = tmp_path_factory.mktemp("fuzzed")
    write_project(root)
    with served(root) as running:
        yield running


@given(
    kind=st.one_of(st.text(), st.just("multipart/form-data; boundary=b")),
    body=st.one_of(
        st.binary(),
        st.lists(st.sampled_from([b"--b", b"--", b"\r\n", b"Content-Disposition: form-data", b'; name="a"', b"x"])).map(
            b"".join
        ),
    ),
)
@settings(max_examples=500)
def test_any_bytes_are_a_form_or_refused(kind: str, body: bytes) -> None:
    header = kind.encode("latin-1", "replace").decode("latin-1")  # as every header comes
    try:
        assert all(isinstance(part.data, bytes) for part in read_form(header, body, 8, "how"))
    except DataError as error:
        assert error.what.startswith(("the form cannot be read: ", "the request is ")) and error.what.isprintable()


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
