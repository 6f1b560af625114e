"""What the page says where the service says no, is busy, is gone, or asks for a key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

pytestmark = pytest.mark.slow  # a browser and a service: together under a minute

# All that the list shows from now on, one text after another.
_SHOWN = """() => {
  const list = document.getElementById("list");
  globalThis.shown = [];
  new MutationObserver(() => shown.push(list.innerText)).observe(
    list, { childList: true, subtree: true, characterData: true, attributes: true });
}"""
AGAIN = "Try again; if it goes on, tell whoever runs this service."


def answering(status: int, body: object = None, headers: dict[str, str] | None = None) -> Callable[[Route], None]:
    """What a service, or something between it and the page, answers."""
    text = body if isinstance(body, str) else json.dumps(body)
    return lambda route: route.fulfill(status=status, body=text, headers=headers or {})


def choose(page: Page, *files: Path) -> None:
    page.get_by_label("Choose images").set_input_files(files)


@pytest.fixture
def refused(watched) -> Page:
    """The page, where the browser is expected to note a refused request in its console."""
    watched.refusals_expected = True
    page: Page = watched.page
    return page


def test_no_image_is_refused_in_the_services_own_words(refused: Page, pictures) -> None:
    choose(refused, pictures["text"])
    fault = refused.locator("#list .fault")
    expect(fault).to_have_text(
        "This is not an image but text; graft reads JPEG, PNG, WebP, HEIC, BMP, GIF and TIFF."
        "Save it again as JPEG or PNG."
    )
    expect(refused.get_by_text("This browser cannot show it")).to_be_visible()
    expect(refused.get_by_role("status")).to_contain_text("text.png: This is not an image but text")
    expect(refused.get_by_role("button", name="Try again")).to_have_count(0)  # it would be refused again


def test_too_large_a_file_is_not_sent_at_all(watched, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(bytes((20 << 20) + 1))
    choose(watched.page, large)
    expect(watched.page.locator("#list .fault")).to_contain_text("This file has 20 MiB, and the service takes 20 MiB.")
    assert not [address for address in watched.asked if address.endswith("/predict")]


@pytest.mark.parametrize(
    ("status", "body", "shown", "again"),
    [
        (413, {"error": "over 5 MiB", "remedy": "send a smaller one"}, "Over 5 MiB.Send a smaller one.", False),
        (413, "<html>nginx</html>", "The upload is larger than the service takes.", False),
        (500, {}, f"The service answered 500.{AGAIN}Try again", True),
        (503, "", f"The service is not ready.{AGAIN}Try again", True),
        (200, "<html>", f"The answer cannot be read.{AGAIN}", False),
    ],
)
def test_other_refusals_are_words(refused: Page, pictures, status: int, body: object, shown: str, again: bool) -> None:
    refused.route("**/predict", answering(status, body))
    choose(refused, pictures["red"])
    expect(refused.locator("#list .fault")).to_have_text(shown)
    expect(refused.get_by_role("button", name="Try again")).to_have_count(int(again))


def test_service_that_went_away_and_came_back(refused: Page, pictures) -> None:
    refused.route("**/predict", lambda route: route.abort("connectionrefused"))
    choose(refused, pictures["red"])
    expect(refused.locator("#list .fault")).to_contain_text("The service does not answer.")
    refused.unroute("**/predict")
    refused.get_by_role("button", name="Try again").click()
    expect(refused.locator("#list .label")).to_contain_text("red")


def test_busy_service_is_asked_again_after_the_time_it_names(refused: Page, pictures) -> None:
    answers = [answering(429, {}, {"Retry-After": "1"}), answering(429, {}), lambda route: route.continue_()]
    refused.route("**/predict", lambda route: answers.pop(0)(route))
    refused.evaluate(_SHOWN)
    choose(refused, pictures["red"])
    expect(refused.locator("#list .label")).to_contain_text("red")
    # For a second each, which a busy machine may be away for: it is asked afterwards what there was to be seen.
    busy = [text for text in refused.evaluate("shown") if "The service is busy. Trying again in 1 s" in text]
    assert busy
    assert answers == []


def test_key_is_asked_for_once_and_used_for_all(refused: Page, pictures) -> None:
    keys: list[str | None] = []

    def guarded(route: Route) -> None:
        key = route.request.headers.get("authorization")
        keys.append(key)
        if key == "Bearer right":
            route.continue_()
        else:
            wrong = {"error": "the API key is wrong" if key else "there is no API key", "remedy": "send a header"}
            answering(401, wrong)(route)

    refused.route("**/predict", guarded)
    choose(refused, pictures["red"], pictures["blue"])
    field = refused.get_by_label("API key")
    expect(field).to_be_focused()
    kept = "It is kept until this page is closed or loaded again, and sent to this server only."
    expect(field).to_have_accessible_description(kept)
    expect(refused.get_by_text("Waiting for the key")).to_have_count(2)
    field.fill("wrong")
    field.press("Enter")
    expect(refused.locator("#key-fault")).to_have_text("The API key is wrong.")
    field.fill("right")
    refused.get_by_role("button", name="Use this key").click()
    expect(refused.locator("#list .label")).to_have_count(2)
    expect(field).to_be_hidden()
    choose(refused, pictures["noise"])
    expect(refused.locator("#list .label")).to_have_count(3)
    assert keys.count("Bearer right") == 3


def test_card_that_cannot_be_had_is_said_and_asked_for_again(open_page, pictures) -> None:
    def failing(page: Page) -> None:
        page.route("**/model", answering(500, {"error": "the model cannot be described"}))

    watched = open_page(before=failing)
    watched.refusals_expected = True
    page = watched.page
    shown = "What the model is cannot be shown: The model cannot be described."
    expect(page.locator("header .fault")).to_contain_text(shown)
    choose(page, pictures["red"])
    expect(page.locator("#list .label")).to_contain_text("red")
    page.unroute("**/model")
    page.locator("header").get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="The model")).to_be_visible()
    expect(page.locator("header .fault")).to_have_count(0)
