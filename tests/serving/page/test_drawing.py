"""Drawing on the page: by pointer, by touch and by keys, and what is sent of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.serving.page.models import read_digits

Stroke = list[tuple[float, float]]


def arc(centre: tuple[float, float], radii: tuple[float, float], start: float, end: float) -> Stroke:
    """Points of an ellipse's part, from ``start`` to ``end`` degrees, clockwise from the right."""
    angles = [math.radians(start + (end - start) * step / 24) for step in range(25)]
    return [(centre[0] + radii[0] * math.cos(a), centre[1] + radii[1] * math.sin(a)) for a in angles]


# As a hand writes them, in shares of the canvas.
DIGITS: dict[str, list[Stroke]] = {
    "0": [arc((0.5, 0.5), (0.2, 0.34), -90, 270)],
    "1": [[(0.38, 0.28), (0.52, 0.15), (0.52, 0.85)]],
    "2": [[*arc((0.5, 0.33), (0.2, 0.18), -170, 40), (0.3, 0.84), (0.74, 0.84)]],
    "3": [arc((0.48, 0.32), (0.2, 0.17), -150, 90) + arc((0.48, 0.67), (0.22, 0.18), -90, 150)],
    "4": [[(0.6, 0.85), (0.6, 0.15), (0.28, 0.62), (0.76, 0.62)]],
    "7": [[(0.28, 0.17), (0.74, 0.17), (0.44, 0.86)]],
}


def draw(page: Page, strokes: list[Stroke]) -> None:
    """Move the mouse over the canvas as a hand would."""
    canvas = page.locator("#canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point)
        page.mouse.up()


def ink(page: Page) -> int:
    """How many pixels of the canvas differ from its ground."""
    return int(
        page.evaluate("""() => {
          const { width, height } = canvas, data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
          let unlike = 0;
          for (let at = 0; at < data.length; at += 4) unlike += data[at] !== data[0];
          return unlike;
        }""")
    )


@pytest.fixture
def page(watched) -> Page:
    """The page with its drawing area open."""
    watched.page.get_by_role("button", name="Draw one").click()
    expect(watched.page.get_by_role("button", name="Draw one")).to_have_attribute("aria-expanded", "true")
    opened: Page = watched.page
    return opened


def shown(page: Page) -> np.ndarray:
    """The newest card's picture, which is what was sent, as grey levels."""
    picture = page.locator("#list > li:first-child > img")
    expect(picture).to_have_js_property("complete", True)
    size, levels = picture.evaluate("""(image) => {
      const sheet = document.createElement("canvas"), { naturalWidth: width, naturalHeight: height } = image;
      Object.assign(sheet, { width, height });
      const context = sheet.getContext("2d");
      context.drawImage(image, 0, 0);
      const data = context.getImageData(0, 0, width, height).data;
      return [[height, width], Array.from({ length: width * height }, (_, at) => data[4 * at])];
    }""")
    return np.asarray(levels, dtype=np.uint8).reshape(size)


def test_drawing_is_cropped_to_its_ink_and_classified(page: Page) -> None:
    classify = page.get_by_role("button", name="Classify the drawing")
    expect(classify).to_be_disabled()
    draw(page, [[(0.1, 0.2), (0.1, 0.6)]])
    assert ink(page) > 0
    classify.click()
    expect(page.locator("#list .label")).to_have_count(1)
    expect(page.get_by_role("heading", name="drawing 1.png")).to_be_visible()
    levels = shown(page)
    assert levels.shape == (256, 256)
    rows, columns = np.nonzero(levels < 128)
    # As high as the picture but for a margin, and in its middle, though it was drawn at the left.
    assert np.ptp(rows) == pytest.approx(256 / 1.1, abs=3)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(128, abs=2)
    assert ink(page) == 0
    expect(classify).to_be_disabled()


@pytest.mark.slow
def test_light_ink_on_dark(page: Page) -> None:
    page.get_by_label("light on dark").check()
    draw(page, [[(0.3, 0.3), (0.7, 0.7)]])
    page.get_by_role("button", name="Classify the drawing").click()
    expect(page.locator("#list .label")).to_have_count(1)
    levels = shown(page)
    assert levels[0, -1] == 0 and levels.max() == 255
    assert (levels > 128).mean() < 0.5


@pytest.mark.slow
def test_undo_and_clear(page: Page) -> None:
    draw(page, [[(0.2, 0.2), (0.8, 0.2)]])
    one = ink(page)
    draw(page, [[(0.2, 0.8), (0.8, 0.8)]])
    assert ink(page) > one
    page.get_by_role("button", name="Undo").click()
    assert ink(page) == one
    page.get_by_role("button", name="Clear", exact=True).click()
    assert ink(page) == 0


def test_drawing_by_keys_alone_and_leaving(page: Page) -> None:
    page.get_by_role("button", name="Draw one").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("application", name="Drawing area")).to_be_focused()
    page.keyboard.press("Space")
    for _ in range(8):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#list .label")).to_have_count(1)
    rows, columns = np.nonzero(shown(page) < 128)
    assert np.ptp(rows) > 2 * np.ptp(columns)  # a line downwards: the pen was lifted before it went to the right
    page.keyboard.press("Tab")
    expect(page.get_by_label("dark on light")).to_be_focused()


@pytest.mark.slow
def test_drawing_by_touch_does_not_move_the_page(open_page) -> None:
    page = open_page(viewport={"width": 390, "height": 500}, has_touch=True, is_mobile=True).page
    page.get_by_role("heading", name="The model").wait_for()  # what is below moves when that comes
    page.get_by_role("button", name="Draw one").tap()
    canvas = page.locator("#canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    before = page.evaluate("scrollY")
    touch = page.context.new_cdp_session(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.8
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 6):
        moved = [{"x": x, "y": y - step * box["height"] * 0.1}]
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": moved})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert page.evaluate("scrollY") == before
    page.get_by_role("button", name="Classify the drawing").click()
    expect(page.locator("#list .label")).to_have_count(1)
    rows, columns = np.nonzero(shown(page) < 128)
    assert np.ptp(rows) > 2 * np.ptp(columns)


@pytest.fixture(scope="module")
def digits(serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that knows the built-in digits."""
    folder = tmp_path_factory.mktemp("digits") / "model"
    read_digits(folder)
    with serve(folder) as (address, _):
        yield address


@pytest.mark.slow
def test_drawn_digits_are_read(digits: str, open_page) -> None:
    # The page moves to each answer, and while it glides a stroke would end beside the canvas.
    page = open_page(digits, reduced_motion="reduce").page
    expect(page.get_by_label("light on dark")).to_be_checked()  # as the model's images are
    for number, (digit, strokes) in enumerate(DIGITS.items(), start=1):
        draw(page, strokes)
        page.get_by_role("button", name="Classify the drawing").click()
        expect(page.locator("#list > li:first-child .label")).to_have_text(re.compile(f"^{digit} "))
        expect(page.get_by_role("status")).to_contain_text(f"drawing {number}.png: ")  # after that nothing moves
