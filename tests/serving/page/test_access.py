"""The page for everybody: by keyboard alone, for screen readers, in the dark, without motion, with enough contrast."""

from __future__ import annotations

import itertools

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow  # a browser and a service: together under a minute

# For each text that is seen: its colour and what it stands on, and the ratio of WCAG 2.2 between the two.
_CONTRASTS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const found = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim(), element = texts.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest("noscript, canvas, .spoken, :disabled")) continue;
    const [one, other] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
    found.push([text, (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(open_page, pictures, scheme: str) -> None:
    watched = open_page(color_scheme=scheme)
    watched.refusals_expected = True
    page = watched.page
    page.get_by_role("button", name="Draw one").click()
    page.get_by_label("Choose images").set_input_files([pictures[name] for name in ("red", "text", "noise")])
    expect(page.locator("#list .label, #list .fault")).to_have_count(3)
    page.evaluate("key.hidden = false")
    seen = page.evaluate(_CONTRASTS)
    assert {"The model", "Choose images", "noise.png", "Save it again as JPEG or PNG."} <= {text for text, _ in seen}
    assert [(text, round(ratio, 2)) for text, ratio in seen if ratio < 4.5] == []


def test_keyboard_alone_goes_everywhere_and_is_kept_nowhere(open_page, pictures) -> None:
    page = open_page().page
    page.get_by_role("heading", name="The model").wait_for()
    page.get_by_label("Choose images").set_input_files([pictures["red"], pictures["blue"]])
    expect(page.locator("#list .label")).to_have_count(2)
    page.get_by_role("button", name="Draw one").click()
    page.locator("h1").evaluate("e => { e.tabIndex = -1; e.focus(); }")
    met = tabbed(page)
    order = ["choose", "draw", "canvas", "ink", "clear"]
    assert [name for name in met if name in order] == order
    # Backwards too, out of the drawing area above all.
    page.locator("#canvas").focus()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Draw one")).to_be_focused()


def tabbed(page: Page) -> list[str]:
    """Press Tab until the page's end; the ids or names of what had the focus, each of which shows that it has it."""
    met: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name, outlined = page.evaluate("""() => {
          const at = document.activeElement;
          if (at === document.body) return ["", true];
          const shows = at.type === "file" ? at.nextElementSibling : at;
          return [at.id || at.name || at.textContent, getComputedStyle(shows).outlineStyle !== "none"];
        }""")
        if not name or name == (met[0] if met else None):
            return met
        assert outlined, f"{name} has the focus and does not show it"
        met.append(name)
    raise AssertionError(f"the focus does not come out of {met[-3:]}")


def test_keyboard_opens_the_file_dialog(open_page, pictures) -> None:
    # Given before the page is opened: until Playwright has told the browser, it would open a real dialog.
    page = open_page(before=lambda page: page.on("filechooser", lambda dialog: dialog.set_files(pictures["red"]))).page
    page.get_by_role("heading", name="The model").wait_for()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Choose images")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator("#list .label")).to_contain_text("red")


def test_everything_that_can_be_used_has_a_name_and_every_picture_a_text(watched, pictures) -> None:
    page = watched.page
    page.get_by_role("button", name="Draw one").click()
    page.get_by_label("Choose images").set_input_files(pictures["red"])
    expect(page.locator("#list .label")).to_have_count(1)
    for control in page.locator("button:visible, input:visible, select:visible, canvas:visible").all():
        assert control.evaluate("e => (e.labels?.[0] ?? e).textContent.trim() || e.ariaLabel"), control
    assert page.locator("img:not([alt])").count() == 0
    assert page.locator("html").get_attribute("lang") == "en"
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map((each) => Number(each.tagName[1]))")
    assert levels[0] == 1 and all(after - before <= 1 for before, after in itertools.pairwise(levels))
    expect(page.get_by_role("status")).to_have_count(1)


@pytest.mark.parametrize(("motion", "moves"), [("reduce", False), ("no-preference", True)])
def test_motion_only_where_it_is_wanted(open_page, pictures, motion: str, moves: bool) -> None:
    page = open_page(reduced_motion=motion).page
    page.get_by_label("Choose images").set_input_files(pictures["red"])
    fill = page.locator("#list .fill").first
    expect(fill).to_be_attached()
    assert (fill.evaluate("e => getComputedStyle(e).transitionDuration") != "0s") is moves


def test_zoomed_in_nothing_needs_scrolling_sideways(open_page, pictures) -> None:
    page = open_page(viewport={"width": 320, "height": 480}).page  # 1280 px at 400%, as WCAG 1.4.10 asks
    page.get_by_role("button", name="Draw one").click()
    page.get_by_label("Choose images").set_input_files([pictures["red"], pictures["noise"]])
    expect(page.locator("#list .label")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
