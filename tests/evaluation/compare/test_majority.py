"""A model against always naming the most frequent class: what is said, by which figure, and of how few images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graft.evaluation.compare.majority import Majority, against_majority
from graft.evaluation.evaluation import Evaluation, metrics
from graft.evaluation.held_out import HeldOutSet
from graft.reporting.html import render_html
from graft.reporting.model_card import render_model_card
from tests.planted_evaluation import context_of, judged, sure_of


def held_out(labels: np.ndarray, n_train: tuple[int, ...] = (280, 12)) -> HeldOutSet:
    names = ("ok", "scratched", "torn")[: len(n_train)]
    return HeldOutSet(names, tuple(map(str, labels)), labels, np.arange(len(labels)), np.array(n_train))


def against(fine: int, faulty: int, found: int, false_alarms: int = 0) -> Majority:
    """``found`` of ``faulty`` images named rightly, and ``false_alarms`` of the ``fine`` ones wrongly."""
    labels = np.repeat([0, 1], [fine, faulty])
    named = np.where(np.arange(len(labels)) < false_alarms, 1, 0)
    named[fine : fine + found] = 1
    majority = against_majority(held_out(labels), sure_of(named, 2))
    assert majority is not None
    return majority


def test_always_the_same_answer_is_no_better() -> None:
    told = against(280, 12, 0)
    assert told.standing == "no better"
    assert told.in_words() == (
        "No better than always answering 'ok': accuracy +0.0 percentage points (95%: −1.2 to +1.2) over the 95.9% of "
        "that answer, balanced accuracy (the mean of the classes' recalls) 50.0% against 50.0%."
    )


@pytest.mark.parametrize(
    ("fine", "faulty", "found", "false_alarms", "standing", "said"),
    [
        (280, 12, 11, 0, "better", None),
        # More false alarms than faults found, and yet a model of use.
        (280, 12, 11, 20, "better", "Its accuracy is no better than that of always answering 'ok', but its balanced"),
        (280, 12, 3, 2, "no better", "No better than always answering 'ok': accuracy +0.3 percentage points"),
        (56, 2, 0, 0, "no better", "No better than always answering 'ok': accuracy +0.0 percentage points"),
        # Not even a perfect model could be shown to be better.
        (
            56,
            2,
            2,
            0,
            "too few images",
            "Not shown to be better than always answering 'ok', because only 2 test images",
        ),
        (56, 0, 0, 0, "no better", "No better than always answering 'ok': all test images are of that class, so they"),
    ],
)
def test_what_is_said(fine: int, faulty: int, found: int, false_alarms: int, standing: str, said: str | None) -> None:
    told = against(fine, faulty, found, false_alarms)
    assert told.standing == standing
    words = told.in_words()
    assert words is None if said is None else words is not None and words.startswith(said)


def test_the_balanced_difference_is_that_of_the_balanced_accuracies() -> None:
    told = against(280, 12, 9, 28)
    assert told.balanced_share + told.balanced.difference == pytest.approx((0.9 + 0.75) / 2)
    assert told.share + told.accuracy.difference == pytest.approx((252 + 9) / 292)


def test_the_class_is_that_of_the_training_images_and_else_of_these() -> None:
    labels = np.array([0, 0, 0, 1, 2])
    said = sure_of(labels, 3)
    for n_train, name in (((1, 5, 5), "scratched"), ((0, 0, 0), "ok")):
        found = against_majority(held_out(labels, n_train), said)
        assert found is not None and found.name == name
    assert against_majority(held_out(labels[:0], (1, 5, 5)), said[:0]) is None


def test_it_is_said_in_figures_report_and_card(planted: Callable[..., Evaluation]) -> None:
    labels = np.repeat([0, 1], [56, 6])
    found = judged(held_out(labels), sure_of(np.zeros(62, dtype=np.intp), 2), 100)
    assert found.majority is not None
    sentence = found.majority.in_words()
    assert sentence is not None and sentence.startswith("No better than always answering 'ok'")
    assert metrics(found)["majority"]["says"] == sentence and metrics(found)["majority"]["standing"] == "no better"
    assert "No better than always answering" in render_html(context_of(found))
    assert "No better than always answering" in render_model_card(context_of(found))
    assert "No better than always" not in render_html(context_of(planted()))
