"""Failures are told through Prefect's own notification blocks, to a real HTTP receiver on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret

from flows.notify import tell, tell_changes
from flows.pipeline import pipeline
from graft.core.workspace import Workspace
from tests.flows.toy import Toy

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(600)]


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    def do_POST(self) -> None:
        self.server.kept.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, str]]]:
    """What a webhook block that GRAFT_NOTIFY names delivered."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        kept: list[dict[str, str]] = []
        server.kept = kept  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        block = CustomWebhookNotificationBlock(
            name="team",
            url=f"http://127.0.0.1:{server.server_port}/hook",
            timeout=60,
            json_data={"text": "{{subject}}", "more": "{{body}}"},
        )
        block.save("team", overwrite=True)
        monkeypatch.setenv("GRAFT_NOTIFY", "custom-webhook/team")
        yield kept
        server.shutdown()
        thread.join()


def test_a_failed_run_is_told_with_the_stages_own_message(toy: Toy, received: list[dict[str, str]]) -> None:
    toy.say("bad")
    assert pipeline(str(toy.root), return_state=True).is_failed()
    (message,) = received
    assert message["text"].startswith("graft-pipeline: '")
    assert message["text"].endswith("' ended as Failed")
    assert message["more"].startswith("stage 'ingest' failed: the file holds a bad word\n  where: in.txt")


def test_a_run_that_did_well_tells_nobody(toy: Toy, received: list[dict[str, str]]) -> None:
    assert pipeline(str(toy.root), return_state=True).is_completed()
    assert received == []


def test_a_messenger_that_is_lost_fails_no_run_and_keeps_no_other(
    received: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    CustomWebhookNotificationBlock(name="gone", url="http://127.0.0.1:9/").save("gone", overwrite=True)
    Secret(value="x").save("no-messenger", overwrite=True)
    blocks = "custom-webhook/absent, custom-webhook/gone, secret/no-messenger, custom-webhook/team"
    monkeypatch.setenv("GRAFT_NOTIFY", blocks)
    tell("a subject", "a body")
    assert received == [{"text": "a subject", "more": "a body"}]
    said = capfd.readouterr().out.splitlines()
    assert said[0].startswith("nobody was told through 'custom-webhook/absent': there is no such block: Unable to find")
    assert said[1].startswith("nobody was told through 'custom-webhook/gone': ConnectError")
    assert said[2] == "nobody was told through 'secret/no-messenger': this block sends no notifications"


def test_a_cause_is_told_once_and_once_more_when_it_is_over(toy: Toy, received: list[dict[str, str]]) -> None:
    toy.say("bad")
    for _ in range(3):
        pipeline(str(toy.root), return_state=True)
    assert [message["text"].rpartition(" ")[2] for message in received] == ["Failed"]
    toy.say("silent")
    pipeline(str(toy.root), return_state=True)
    cause = "stage 'ingest' failed: the file holds a bad word"
    assert [message["more"].splitlines()[0] for message in received[1:]] == [
        f"this is over: {cause}",
        "stage 'ingest' failed: it ended with exit code 3; the last it printed:",
    ]
    toy.say("good")
    for _ in range(2):
        pipeline(str(toy.root), return_state=True)
    assert len(received) == 4
    assert received[3]["text"] == "graft-pipeline: 'train: by hand' ended as Completed"
    assert received[3]["more"] == (
        f"this is over: stage 'ingest' failed: it ended with exit code 3; the last it printed:\n  project: {toy.root}"
    )


def test_what_reached_nobody_is_told_again(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    reached = iter([False, True, False, True])
    monkeypatch.setattr("flows.notify.tell", lambda subject, body: told.append(subject) or next(reached))
    workspace = Workspace(toy.root)
    for words in ("first", "again", "never"):
        tell_changes(workspace, "about", words, {"cause": "is so"})
    for words in ("over", "over again", "never"):
        assert tell_changes(workspace, "about", words, {}) == {}
    assert told == ["first", "again", "over", "over again"]
