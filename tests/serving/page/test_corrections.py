"""Saying on the page whether an answer is right: sent with the answer's id, thanked for, or its failure told."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from graft.core.workspace import Workspace
from graft.monitoring.prediction_log import PredictionLog
from tests.serving.process import PATIENCE

ID = "0123456789abcdef"
# Every answer to an image is called ``id``. In the page, because Chromium does not tell of a file in a form, so that
# such a request cannot be passed on.
_NAMED = """(id) => {
  const plain = globalThis.fetch;
  globalThis.fetch = async (path, options) => {
    const response = await plain(path, options);
    return path === "predict" ? Response.json({ ...(await response.json()), id }) : response;
  };
}"""


def takes_feedback(url: str) -> bool:
    """Whether this service has the endpoint: one that has it refuses an unknown answer in its own words."""
    said = httpx.post(f"{url}/feedback", json={"id": "0", "label": "red"}, timeout=PATIENCE)
    return said.headers.get("content-type", "").startswith("application/json") and "error" in said.json()


@pytest.fixture
def noted(watched, url: str) -> list[dict[str, str]]:
    """What is sent to `/feedback`. A service without it is stood in for, so that the page is tested all the same."""
    sent: list[dict[str, str]] = []
    real = takes_feedback(url)

    def note(route: Route) -> None:
        sent.append(json.loads(route.request.post_data or "{}"))
        if real:
            route.continue_()
        else:
            route.fulfill(json=sent[-1])

    if not real:
        watched.page.evaluate(_NAMED, ID)
    watched.page.route("**/feedback", note)
    return sent


def ask(page: Page, file: Path) -> Locator:
    """Give one image; returns the question under its answer."""
    page.get_by_label("Choose images").set_input_files(file)
    question = page.get_by_role("group", name=f"for {file.name}?")
    expect(question).to_be_visible()
    return question


@pytest.mark.slow
def test_right_answer_is_confirmed(watched, noted, url: str, pictures, served_colours: tuple[str, Workspace]) -> None:
    question = ask(watched.page, pictures["red"])
    expect(question).to_have_accessible_name("Is red right for red.png?")
    question.get_by_role("button", name="Yes").click()
    expect(question).to_contain_text("Thank you. Noted: red.")
    expect(watched.page.get_by_role("status")).to_have_text("Thank you. Noted: red.")
    expect(question.get_by_role("button", name="Change")).to_be_focused()
    assert [each["label"] for each in noted] == ["red"]
    if takes_feedback(url):
        kept = PredictionLog(served_colours[1].prediction_log).read().set_index("id")
        assert kept.loc[noted[0]["id"], "truth"] == "red"


def test_wrong_answer_is_corrected_and_may_be_changed(watched, noted, pictures) -> None:
    question = ask(watched.page, pictures["red"])
    question.get_by_role("button", name="No").click()
    choice = question.get_by_label("What it shows")
    expect(choice).to_be_focused()
    expect(choice.get_by_role("option")).to_have_text(["It shows …", "green", "blue"])
    expect(question.get_by_role("button", name="Send")).to_be_disabled()
    choice.select_option("blue")
    question.get_by_role("button", name="Send").click()
    expect(question).to_contain_text("Thank you. Noted: blue.")
    question.get_by_role("button", name="Change").click()
    question.get_by_label("What it shows").select_option("green")
    question.get_by_role("button", name="Send").click()
    expect(question).to_contain_text("Thank you. Noted: green.")
    assert [each["label"] for each in noted] == ["blue", "green"]
    assert len({each["id"] for each in noted}) == 1


@pytest.mark.slow
def test_correction_that_is_refused_is_told(watched, noted, pictures) -> None:
    watched.refusals_expected = True
    question = ask(watched.page, pictures["red"])
    said = {"error": "there is no such answer", "remedy": "ask again"}
    watched.page.route("**/feedback", lambda route: route.fulfill(status=404, json=said))
    question.get_by_role("button", name="Yes").click()
    text = "It could not be noted: There is no such answer. Ask again."
    expect(question.locator(".fault")).to_have_text(text)
    expect(watched.page.get_by_role("status")).to_have_text(text)
    expect(question.get_by_role("button", name="Yes")).to_be_enabled()


@pytest.mark.slow
def test_without_an_id_nothing_is_asked(watched, pictures) -> None:
    watched.page.evaluate(_NAMED, None)
    watched.page.get_by_label("Choose images").set_input_files(pictures["red"])
    expect(watched.page.locator("#list .label")).to_contain_text("red")
    expect(watched.page.get_by_text("Is that right?")).to_have_count(0)
