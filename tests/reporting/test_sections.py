"""What the page and the card show of mistakes, slices, labels and confidence, and that it stays bounded."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import softmax

from graft.calibration.fitted_trust import FittedTrust, Novelty, Temperature, Threshold
from graft.evaluation.calibration_check import Share
from graft.evaluation.curves import roc_table
from graft.evaluation.evaluation import Evaluation
from graft.evaluation.explain.label_issues import LabelIssue, LabelIssues
from graft.evaluation.held_out import HeldOutSet
from graft.evaluation.slices import Slice
from graft.inference.artifact import Artifact
from graft.inference.predictor import Predictor
from graft.metrics.formatting import area
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.models.zoo.registry import build_network
from graft.reporting.blocks import EmbeddedImage, GalleryItem
from graft.reporting.context import ReportContext
from graft.reporting.figures import plots
from graft.reporting.figures.gallery import overlay, show_mistakes
from graft.reporting.figures.svg import short
from graft.reporting.html import render_html
from graft.reporting.model_card import escaped, render_model_card
from graft.reporting.sections import confidence, failures
from tests.planted_evaluation import context_of, judged

WEAK = Slice("brightness", "lowest quarter: up to 0.2", 400, 0.6, 0.55, 0.65, compared=True, weak=True)
FINE = Slice("folder", "cam|era <1>", 600, 0.88, 0.85, 0.9, compared=True, weak=False)
TINY = Slice("folder", "other", 3, 0.0, 0.0, 0.6, compared=False, weak=False)
DOUBT = LabelIssue("ant/9.png", "ant", "bee", 0.02, 0.97)


def _large(classes: int = 100, n: int = 4000, strength: float = 1.0) -> Evaluation:
    """A weak model on many classes: nearly every kind of mistake is made."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) + strength * np.eye(classes)[labels]
    said = softmax(logits, axis=1)
    names = tuple(f"a rather long class name, number {i}" for i in range(classes))
    paths = tuple(f"{names[label]}/{i}.png" for i, label in enumerate(labels))
    held_out = HeldOutSet(names, paths, labels, np.arange(n), np.full(classes, 20))
    return judged(held_out, said, 100)


def _filled(found: Evaluation) -> ReportContext:
    """As many pictures as the stage shows at most, each as heavy as pictures of noise are."""
    rng = np.random.default_rng(0)
    noise = overlay(rng.integers(0, 255, (224, 224, 3), dtype=np.uint8), rng.random((224, 224), dtype=np.float32))
    picture = EmbeddedImage(noise, "noise")
    return dataclasses.replace(
        context_of(found),
        mistakes=(GalleryItem((picture, picture), ()),) * 12,
        suspects=LabelIssues((DOUBT,) * 500, 5000),
        label_issue_pictures=(GalleryItem((picture,), ()),) * 12,
        slices=(WEAK, FINE, TINY) * 60,
    )


def test_page_of_a_hundred_classes_and_thousands_of_images_is_bounded() -> None:
    found = _large()
    assert int((found.confusion > 0).sum()) > 3000
    text = render_html(_filled(found))
    assert len(text.encode()) < 2_500_000
    ids = re.findall(r'\sid="([^"]*)"', text)
    assert len(ids) == len(set(ids)) > 20
    assert "the 1,500 most frequent are drawn" in text
    assert len(render_model_card(context_of(found)).splitlines()) < 200


def test_only_the_fullest_cells_are_left_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "MOST_CELLS", 1)
    counts = np.array([[5, 1, 0], [3, 5, 0], [0, 2, 0]])
    assert plots._cells(counts) == [(0, 0), (1, 1), (1, 0)]
    assert "Of 3 kinds of mistakes the 1 most frequent are drawn" in plots.confusion_caption(counts)


def test_long_names_that_begin_alike_stay_apart() -> None:
    names = [short(f"a rather long class name, number {i}", 10) for i in range(100)]
    assert len(set(names)) == 100 and set(map(len, names)) == {10}
    assert (short("exactly 10", 10), short("one more 11", 10)) == ("exactly 10", "one m…e 11")


def test_the_worst_classes_are_drawn_and_the_mean() -> None:
    found = _large(6, 600)
    areas = {row.name: row.roc_auc for row in found.classes if row.roc_auc is not None}
    worst = plots.lowest(areas)
    assert worst == sorted(areas, key=lambda name: areas[name])[:3]
    table = roc_table(found.held_out, found.outputs)
    text = plots.curve_svg("roc", table, areas, ("false_positive_rate", "true_positive_rate"))
    assert f"({area(areas[worst[0]])})" in text
    assert plots.lowest({"a": 0.9, "b": 0.9}) == ["a"]


def _judged(card: FittedTrust, n: int = 2000) -> Evaluation:
    """A network that says four times what it knows, with the temperature that the card has."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, n)
    logits = 4 * (np.eye(3)[labels] + rng.normal(size=(n, 3)))
    held_out = HeldOutSet(("a", "b", "c"), tuple(f"{i}.png" for i in range(n)), labels, np.arange(n), np.full(3, 20))
    said = softmax(logits / card.temperature.value, axis=1)
    return judged(held_out, said, 100, trust=card)


def test_calibration_before_is_what_the_model_would_say_without_its_temperature() -> None:
    found = _judged(FittedTrust(Temperature(4.0, 3.5, 4.5, 100, None)))
    plain = _judged(FittedTrust())
    before, after = (plain.scores["calibration_error"].value, found.scores["calibration_error"].value)
    assert before is not None and after is not None and after < 0.05 < before
    text = confidence.calibration_sentence(found.trusted)
    assert "was too sure of itself" in text and "temperature of 4.00 (95%: 3.50 to 4.50)" in text
    assert f"from {100 * before:.1f} to {100 * after:.1f} percentage points, and log loss changed by −" in text
    assert "before" in plots.draw_all(found)["reliability"] and "before" not in plots.draw_all(plain)["reliability"]
    assert (
        confidence.calibration_sentence(plain.trusted)
        == "Its confidence is left as it is: the training held out no images."
    )


def test_what_is_answered_is_counted() -> None:
    found = _judged(FittedTrust(Temperature(4.0, 3.5, 4.5, 100, None), Threshold(0.75, 0.95, 80, None)))
    sure = found.outputs.max(axis=1) >= 0.75
    right = found.outputs.argmax(axis=1) == found.held_out.labels
    text = confidence.coverage_sentence(found.trusted)
    assert text.startswith(
        f"An answer of less than 75.0% confidence counts as not sure. {100 * sure.mean():.1f}% of the test images are "
        f"answered, and {100 * right[sure].mean():.1f}% of these answers are right (95%: "
    )
    assert text.endswith(
        f"; of the others {100 * right[~sure].mean():.1f}% would have been. It was chosen on 80 held-out training "
        "images."
    )
    bound = Threshold(0.75, 0.95, 80, None, n_answered=64, accuracy_bound=0.954)
    assert confidence.coverage_sentence(
        _judged(FittedTrust(Temperature(4.0, 3.5, 4.5, 100, None), bound)).trusted
    ).endswith(
        "It was chosen on 80 held-out training images: on the 64 of them that are answered the lower 95% bound of the "
        "accuracy (Clopper-Pearson) is 95.4%, and 95.0% were asked for."
    )
    never = confidence.coverage_sentence(_judged(FittedTrust(threshold=Threshold(1.0, 0.99, 80, None))).trusted)
    assert never.endswith("counts as not sure. The model is sure of no test image.")
    rows = confidence.coverage_table(found).rows
    assert [row.cells[1] for row in rows if row.chosen] == [f"{100 * sure.mean():.1f}%"]


def test_what_it_notices_is_said() -> None:
    silent = confidence.novelty_sentence(_judged(FittedTrust()).trusted)
    assert silent == ("It cannot tell an image that is unlike its training images: the training held out no images.")
    card = FittedTrust(novelty=Novelty(0.4, 1, 0.95, 60, 200, "", None))
    told = dataclasses.replace(_judged(FittedTrust()).trusted, trust=card, usual=Share(0.96, None, 2000))
    assert confidence.novelty_sentence(told) == (
        "An image is called unlike the training images where its features are farther from theirs than those of 95.0% "
        "of 60 training images are from the others'. As the network was trained on these, the share of new images of "
        "their kind that passes is near to that and not exactly that: 96.0% of the test images pass. How many images "
        "of something else are caught was not tested."
    )


def test_slices_in_words() -> None:
    text = failures.slices_sentence((WEAK, FINE, TINY), 0.8)
    assert text == (
        "The weakest of 2 slices is brightness, lowest quarter: up to 0.2: 60.0% of its 400 images (95%: 55.0% "
        "to 65.0%); all images together: 80.0%. That is more than chance explains, also after correction for 2 "
        "comparisons."
    )
    assert "chance alone can do that: no slice is called weak" in failures.slices_sentence((FINE, TINY), 0.9)
    assert "No slice has the 20 test images" in failures.slices_sentence((TINY,), 0.9)
    assert "there are no slices" in failures.slices_sentence((), 0.9)


def test_doubted_labels_in_words() -> None:
    some = failures.label_issues_sentence(LabelIssues((DOUBT,) * 13, 200), 12)
    assert "13 labels are doubted" in some and "The 12 least believable are shown" in some
    assert "1 label is doubted" in failures.label_issues_sentence(LabelIssues((DOUBT,), 200), 1)
    assert "no label is doubted" in failures.label_issues_sentence(LabelIssues((), 200), 0)
    assert failures.label_issues_sentence(LabelIssues(reason="why not"), 0) == "Labels were not checked: why not."


def test_heat_glows_where_it_is_and_leaves_the_rest_grey() -> None:
    heat = np.zeros((64, 64), np.float32)
    heat[:32, :32] = 1
    address = overlay(np.full((64, 64, 3), 120, np.uint8), heat)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB"), dtype=float)
    assert image.shape == (160, 160, 3)
    hot, cold = image[20:60, 20:60].mean(axis=(0, 1)), image[100:, 100:].mean(axis=(0, 1))
    assert hot[0] - hot[2] > 80 and np.ptp(cold) < 3 and hot.sum() > cold.sum()


def test_mistakes_are_shown_with_where_the_model_looked(make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"a": 2}, size=(40, 30))
    model = Predictor(
        Artifact(("a", "b"), "shufflenet_v2_x0_5", "none", None,
                 ImagePreprocessor(Geometry(32, 1.0, "bilinear"), (0.5,) * 3, (0.5,) * 3)),
        build_network("shufflenet_v2_x0_5", 2).eval(),
    )  # fmt: skip
    paths = tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png")))
    held_out = HeldOutSet(("b", "a"), paths, np.array([1, 1]), np.arange(2), np.array([1, 1]))
    shown, how = show_mistakes(model, folder, held_out, np.array([[0.9, 0.1], [0.8, 0.2]]))
    assert len(shown) == 2 and "Grad-CAM" in how
    assert all('<img src="data:image/' in item.frames[0].html for item in shown)
    assert shown[0].lines[0] == (("b", "said"), (" 90.0% sure", "")) and shown[0].lines[1][0][0] == "is a (10.0% sure)"
    assert show_mistakes(model, folder, held_out, np.array([[0.1, 0.9]] * 2)) == ((), "")


def test_page_and_card_tell_the_same(planted: Callable[..., Evaluation]) -> None:
    card = FittedTrust(Temperature(2.0, 1.5, 2.5, 90, None))
    found = dataclasses.replace(planted(), trusted=dataclasses.replace(planted().trusted, trust=card))
    shown = dataclasses.replace(_filled(found), slices=(WEAK, FINE, TINY))
    page, markdown = render_html(shown), render_model_card(shown)
    plain = markdown.replace("\\", "")
    for text in (
        "Right on 90.0% of 60 unseen images",
        "The weakest of 2 slices is brightness",
        "500 labels are doubted",
        "a temperature of 2.00",
        "Images from another camera",
    ):
        assert text in page and text in plain, text
    assert "# resnet18 (source, 32 px, cut after block 3)" in markdown
    # Names that users give are text, in HTML and in Markdown.
    assert "<i>wasp" not in page and "<i>wasp" not in markdown and r"\<i\>wasp\</i\> \$1" in markdown


def test_the_card_has_whole_tables(planted: Callable[..., Evaluation]) -> None:
    names = ["a|b", "c"]
    board = pd.DataFrame(
        {"name": names, "arch": names, "weights": "none", "kind": "candidate", "why": ["chosen: best", "lost"]}
    )
    card = render_model_card(dataclasses.replace(context_of(planted()), leaderboard=board))
    tables = re.findall(r"(?:^\|.*\|\n)+", card, flags=re.MULTILINE)
    assert len(tables) >= 4
    for lines in (table.splitlines() for table in tables):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, lines
    assert r"**a\|b**" in card
    assert escaped("two\nlines # of *it*") == r"two lines \# of \*it\*"
