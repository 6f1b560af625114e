"""The page stands alone, escapes what users named, and says what is missing; figures are worded with care."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from graft.evaluation.evaluation import Evaluation, metrics, write_tables
from graft.metrics import formatting
from graft.reporting.blocks import EmbeddedImage, GalleryItem
from graft.reporting.context import ReportContext, pictures
from graft.reporting.figures import plots
from graft.reporting.figures.gallery import worst_mistakes
from graft.reporting.html import render_html
from graft.reporting.sections import background, failures, summary
from tests.planted_evaluation import context_of

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """Collects every address and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.images_without_text = 0
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [values[name] or "" for name in ("src", "href", "xlink:href", "data") if name in values]
        self.ids += [values["id"] or ""] if "id" in values else []
        self.images_without_text += tag == "img" and not values.get("alt")
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _read(text: str) -> Page:
    page = Page()
    page.feed(text)
    assert page.open == []
    return page


def _full(found: Evaluation, folder: Path) -> ReportContext:
    (folder / "scores.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    src = "data:image/png;base64,AA"
    lines = ((("bee", "said"), (" 97.0% sure", "")), (("ant/1.png", "muted"),))
    mistake = GalleryItem(
        (EmbeddedImage(src, "Test image ant/1.png"), EmbeddedImage(src, "Where the model looked")), lines
    )
    shown = pictures(folder)
    return dataclasses.replace(context_of(found), selection=shown, training=shown, mistakes=(mistake,))


def test_page_fetches_nothing(planted: Callable[..., Evaluation], tmp_path: Path) -> None:
    text = render_html(_full(planted(), tmp_path))
    page = _read(text)
    assert page.addresses and all(address.startswith(("data:", "#")) for address in page.addresses)
    assert re.findall(r"@import|url\((?!#)", text) == []
    assert page.scripts == 0 and page.images_without_text == 0
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)


def test_names_are_escaped(planted: Callable[..., Evaluation], tmp_path: Path) -> None:
    text = render_html(_full(planted(), tmp_path))
    assert "<i>wasp" not in text
    assert "&lt;i&gt;wasp&lt;/i&gt; $1" in text


def test_page_says_what_is_missing(planted: Callable[..., Evaluation]) -> None:
    found = planted(tested=2)
    text = render_html(context_of(found))
    _read(text)
    assert "no test images of this class" in text
    assert "There is no leaderboard" in text
    assert 'href="#training"' not in text
    assert "not known" in text


@pytest.mark.parametrize("n", [1, 2, 7])
def test_page_of_very_few_images(planted: Callable[..., Evaluation], n: int) -> None:
    _read(render_html(context_of(planted(n=n))))


def test_page_of_many_classes_stays_small(planted: Callable[..., Evaluation]) -> None:
    found = planted(n=2000, classes=tuple(f"a rather long class name {i}" for i in range(100)))
    text = render_html(context_of(found))
    _read(text)
    assert len(text) < 1_000_000
    assert "The 30 classes with the worst F1." in text


def test_names_in_other_scripts_are_drawn_without_a_warning() -> None:
    assert "蜜蜂" in plots.confusion_svg(["蜜蜂", "蚂蚁"], np.array([[3, 1], [0, 2]]))


def test_pictures_follow_the_page_and_are_the_same_again() -> None:
    counts = np.array([[3, 1], [0, 2]])
    first = plots.confusion_svg(["a", "b"], counts)
    assert first == plots.confusion_svg(["a", "b"], counts)
    assert "var(--ink" in first and "var(--blue" in first and "var(--orange" in first
    # No colour of its own is left that a dark page would swallow.
    assert set(re.findall(r"#[0-9a-f]{6}", re.sub(r"var\([^)]*\)", "", first))) <= {"#ffffff"}


def test_metrics_are_plain_json_with_the_keys_of_the_contract(
    planted: Callable[..., Evaluation], tmp_path: Path
) -> None:
    found = planted()
    write_tables(found, tmp_path)
    read = json.loads((tmp_path / "metrics.json").read_text())
    assert read == metrics(found)
    assert {"accuracy", "macro_f1", "balanced_accuracy", "log_loss", "n_test", "latency_ms", "size_mb"} <= set(read)
    assert read["accuracy"] == pytest.approx(0.9) and read["n_test"] == 60
    low, high = read["accuracy_ci95"]
    assert low < 0.9 < high
    assert read["transfer"]["verdict"] == "helps" and read["transfer"]["control_accuracy"] == pytest.approx(0.5)
    assert [point["labels_per_class"] for point in read["label_curve"]] == [5, 20]
    assert read["top_3"] is None and "top_3" in read["reasons"]
    curve = pd.read_csv(tmp_path / "label_curve.csv")
    assert curve["transfer"].tolist() == pytest.approx([0.9, 0.9]) and curve["scratch"].tolist() == [0.5, 0.5]


def test_mistakes_are_worst_first(planted: Callable[..., Evaluation]) -> None:
    found = planted()
    probabilities = found.outputs.copy()
    probabilities[10] = [0.01, 0.01, 0.98]
    assert worst_mistakes(found.held_out, probabilities, most=3).tolist() == [10, 0, 20]


def test_figures_in_words() -> None:
    assert [formatting.percent(x) for x in (0.934, 1.0, 0.0, 0.9999, 0.0001, None)] == [
        "93.4%",
        "100%",
        "0%",
        "99.9%",
        "0.1%",
        "–",
    ]
    assert [formatting.area(x) for x in (0.9999, 1.0, 0.95312, None)] == ["0.999", "1.000", "0.953", "–"]
    assert (formatting.points(0.031), formatting.points(-0.031)) == ("+3.1", "−3.1")
    assert [formatting.number(x) for x in (5.0, 1234567.0, 0.12345, float("inf"))] == [
        "5",
        "1,234,567",
        "0.1235",
        "unbounded",
    ]
    assert [formatting.cell(x) for x in (None, float("nan"), True, "x", 3)] == ["–", "–", "yes", "x", "3"]
    assert (formatting.counted(1, "image", "images"), formatting.counted(1234, "image", "images")) == (
        "1 image",
        "1,234 images",
    )


def test_findings_in_words(planted: Callable[..., Evaluation]) -> None:
    found = planted()
    assert summary.title(found) == "Right on 90.0% of 60 unseen images"
    assert "helps: it is worth 40.0 percentage points" in summary.lead(found)
    undecided = dataclasses.replace(found.transfer, verdict="undecided", reason=None)
    assert " It holds zero, so chance could explain the difference." in summary.transfer_sentence(undecided)
    assert "no group has images on both sides" in background.data_note(found)
    leaking = dataclasses.replace(found, held_out=dataclasses.replace(found.held_out, straddling=2))
    assert "Take care: 2 groups" in background.data_note(leaking)
    assert "6 of 60 test images were named wrongly." in failures.errors_sentence(found)
