"""Images given to the page in every way that people have, and what it shows of each answer."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.serving.process import PATIENCE

_DROP = """(files) => {
  const data = new DataTransfer();
  for (const [name, text] of files) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    data.items.add(new File([bytes], name, { type: "image/png" }));
  }
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: data }));
  }
}"""
_COPY = """async (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) })]);
}"""


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def card(page: Page, name: str) -> Locator:
    """The card of the image called ``name``."""
    return page.get_by_role("listitem", name=name)


def label(card: Locator) -> Locator:
    return card.locator(".label")


def test_chosen_image_gets_bars_that_agree_with_the_service(watched, url: str, pictures) -> None:
    page = watched.page
    page.get_by_label("Choose images").set_input_files(pictures["red"])
    red = card(page, "red.png")
    expect(label(red)).to_have_text(re.compile(r"^red "))
    with pictures["red"].open("rb") as file:
        said = httpx.post(f"{url}/predict", files={"image": file}, timeout=PATIENCE).json()["probabilities"]
    rows = red.locator(".bars > li")
    expect(rows).to_have_count(len(said))
    for row, (name, share) in zip(rows.all(), said.items(), strict=True):
        shown, value = row.locator(".name").inner_text(), row.locator(".value").inner_text()
        assert shown == name
        assert value == (f"{100 * share:.1f}%" if 0.001 <= share <= 0.999 else value)
        width = float(row.locator(".fill").evaluate("fill => fill.style.width").removesuffix("%"))
        assert width == pytest.approx(100 * share, abs=0.01)
    expect(red.locator(".doubts")).to_have_count(0)
    expect(page.get_by_role("status")).to_contain_text("red.png: red, ")


@pytest.mark.parametrize(
    ("name", "doubts"),
    [
        ("between", ["Not sure: it would have to give at least 80%."]),
        (
            "noise",
            [
                "Not sure: it would have to give at least 80%.",
                "Unlike the training images: do not rely on this answer.",
            ],
        ),
    ],
)
def test_doubts_are_shown_and_said(watched, pictures, name: str, doubts: list[str]) -> None:
    page = watched.page
    page.get_by_label("Choose images").set_input_files(pictures[name])
    expect(card(page, f"{name}.png").locator(".doubts > li")).to_have_text(doubts)
    expect(page.get_by_role("status")).to_contain_text(" ".join(doubts))


def test_several_at_once_each_get_a_card_in_their_order(watched, pictures) -> None:
    page = watched.page
    page.get_by_label("Choose images").set_input_files([pictures[name] for name in ("red", "text", "between", "blue")])
    watched.refusals_expected = True
    names = page.locator("#list > li h3")
    expect(names).to_have_text(["red.png", "text.png", "between.png", "blue.png"])
    expect(page.get_by_role("status")).to_have_text("All answered: 4 images, 1 not sure, 1 without an answer.")
    assert label(card(page, "blue.png")).inner_text().startswith("blue")
    page.get_by_label("Choose images").set_input_files(pictures["noise"])
    expect(names).to_have_text(["noise.png", "red.png", "text.png", "between.png", "blue.png"])
    page.get_by_role("button", name="Clear all").click()
    expect(names).to_have_count(0)
    expect(page.get_by_role("heading", name="Answers")).to_be_hidden()


@pytest.mark.slow
def test_no_more_than_three_requests_are_in_flight(open_page, pictures) -> None:
    held = []

    def hold(page: Page) -> None:
        page.route("**/predict", lambda route: held.append(route))

    page = open_page(before=hold).page
    page.get_by_role("heading", name="The model").wait_for()
    page.get_by_label("Choose images").set_input_files([pictures["red"]] * 7)
    answered = 0
    while answered < 7:
        expect(page.get_by_text(re.compile("^Asking$"))).to_have_count(min(3, 7 - answered))
        while not held:  # the page says that it asks before the browser does
            page.wait_for_timeout(50)
        assert len(held) <= 3
        held.pop(0).continue_()
        answered += 1
        expect(page.locator(".label")).to_have_count(answered)


def test_dropped_images(watched, pictures) -> None:
    page = watched.page
    page.evaluate(_DROP, [["one.png", encoded(pictures["red"])], ["two.png", encoded(pictures["blue"])]])
    expect(label(card(page, "one.png"))).to_contain_text("red")
    expect(label(card(page, "two.png"))).to_contain_text("blue")
    page.evaluate(_DROP, [])
    expect(page.get_by_role("status")).to_contain_text("That is not a file.")


@pytest.mark.slow
def test_pasted_image(open_page, pictures) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"]).page
    page.evaluate(_COPY, encoded(pictures["blue"]))
    page.keyboard.press("Control+V")
    expect(label(card(page, "image.png"))).to_contain_text("blue")


@pytest.mark.slow
def test_phone_offers_its_camera_and_fits(open_page, pictures) -> None:
    phone = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
    page = open_page(**phone).page
    camera = page.get_by_label("Take a photograph")
    assert camera.get_attribute("capture") == "environment"
    expect(page.get_by_text("Take a photograph")).to_be_visible()
    camera.set_input_files(pictures["red"])
    expect(label(card(page, "red.png"))).to_contain_text("red")
    page.get_by_role("button", name="Draw one").tap()
    page.get_by_label("Choose images").set_input_files([pictures["blue"], pictures["noise"]])
    expect(page.locator(".label")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_model_says_what_it_is_and_is_not_for(watched) -> None:
    model = watched.page.get_by_role("region", name="The model")
    for text in (
        "red, green, blue",
        "93.0%",
        "95% interval 91.0% to 95.0%",
        "under 80%",
        "120 images",
        "153 test images",
    ):
        expect(model).to_contain_text(text)
    expect(model.get_by_role("heading", name="What it is not for")).to_be_visible()
    expect(model).to_contain_text("95% of the answers above it are right")
    expect(watched.page.locator("#intro")).to_contain_text("This model tells red, green and blue apart.")
