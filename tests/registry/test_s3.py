"""`publish` and `rollback` over a real S3 protocol, spoken by a server on loopback."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from graft.core.errors import VersionError
from graft.registry.promote import promote
from graft.registry.publish import publish
from graft.registry.rollback import rollback
from graft.registry.verify import verify
from tests.registry.conftest import Project
from tests.registry.test_rollback import bytes_of

BUCKET = "models"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server with nothing in it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """A client of the server, and the environment that finds it."""
    import boto3

    for name, value in (
        ("AWS_ENDPOINT_URL", server),
        ("AWS_ACCESS_KEY_ID", "nobody"),
        ("AWS_SECRET_ACCESS_KEY", "nothing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_CONFIG_FILE", str(tmp_path / "none")),
        ("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none")),
    ):
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket=BUCKET)
    yield client
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])


def keys(client: Any) -> list[str]:
    return [item["Key"] for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


@pytest.mark.slow
def test_sent_read_back_and_brought_back(new_project: Callable[..., Project], bucket: Any) -> None:
    project = new_project()
    project.package(0)
    promote(project.workspace)
    first = bytes_of(project.workspace.promoted)
    done = publish(project.workspace, f"s3://{BUCKET}/team")
    assert (done.address, done.sent) == (f"s3://{BUCKET}/team", 5)
    assert len(keys(bucket)) == 5 and all(key.startswith("team/files/md5/") for key in keys(bucket))
    assert publish(project.workspace).sent == 0, "it is the default now"
    assert verify(project.workspace)[1] == "the remote graft: 4 files read, every hash is right"
    project.package(1, 0.1)
    promote(project.workspace)
    publish(project.workspace)
    shutil.rmtree(project.root / ".dvc" / "cache")
    rollback(project.workspace)
    assert bytes_of(project.workspace.promoted) == first
    bad = max(keys(bucket), key=lambda key: bucket.head_object(Bucket=BUCKET, Key=key)["ContentLength"])
    bucket.put_object(Bucket=BUCKET, Key=bad, Body=b"damaged")
    with pytest.raises(VersionError, match=r"model\.safetensors \(md5 .*\) is damaged"):
        verify(project.workspace)


@pytest.mark.slow
def test_a_server_that_is_away_is_one_message(
    new_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, bucket: Any
) -> None:
    project = new_project()
    project.package(0)
    promote(project.workspace)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(VersionError, match=r"DVC cannot do this: .*127.0.0.1:9") as refused:
        publish(project.workspace, f"s3://{BUCKET}/team")
    assert "can be reached" in str(refused.value.remedy)


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_one_message(new_project: Callable[..., Project], bucket: Any) -> None:
    project = new_project()
    project.package(0)
    promote(project.workspace)
    with pytest.raises(VersionError, match=r"(?i)bucket"):
        publish(project.workspace, "s3://nobody-has-this/team")
