"""What metrics.json says of the control, and of the source, beside the verdict."""

from __future__ import annotations

import numpy as np
import pytest

from graft.evaluation.compare.fold_pairs import FoldComparison
from graft.evaluation.evaluation import Evaluation, Probabilities, evaluate, metrics
from graft.evaluation.held_out import HeldOutSet
from graft.reporting.sections.summary import transfer_sentence
from graft.stats.bootstrap import Interval, Resampling
from tests.planted_evaluation import COST, named_rightly, sure_of

N, CLASSES = 300, ("ant", "bee", "wasp")
LABELS = np.arange(N) % 3


def found(ours: float, control: float, **more: object) -> Evaluation:
    luck = np.random.default_rng(0).random(N)
    model, scratch = (sure_of(named_rightly(LABELS, luck < share, 3), 3) for share in (ours, control))
    held_out = HeldOutSet(CLASSES, tuple(map(str, range(N))), LABELS, np.arange(N), np.full(3, 20))
    return evaluate(held_out, Probabilities(model, scratch, {}, **more), COST, Resampling(np.arange(N), 300, 0))  # type: ignore[arg-type]


AGAINST = FoldComparison(-0.2, Interval(-0.3, -0.1), seeds=1, folds=5)


def test_the_control_has_all_figures_that_a_gate_asks_for_where_it_is_better_over_the_folds() -> None:
    told = metrics(found(0.6, 0.9, folds=AGAINST))
    assert told["transfer"]["folds"]["better"] == "control"
    assert told["transfer"]["verdict"] == "hurts"
    control = told["control"]
    assert control["accuracy"] == told["transfer"]["control_accuracy"] != told["accuracy"]
    assert {"accuracy_ci95", "macro_f1", "balanced_accuracy", "log_loss", "n_test"} <= set(control)
    assert control["majority"]["standing"] == "better"
    assert (control["size_mb"], control["latency_ms"]) == (4.9, 3.2)


@pytest.mark.parametrize(("ours", "control"), [(0.9, 0.6), (0.8, 0.8), (0.6, 0.9)])
def test_else_there_is_no_other_model_to_speak_of(ours: float, control: float) -> None:
    assert metrics(found(ours, control))["control"] is None


def test_folds_can_withhold_the_verdict_and_the_control() -> None:
    folds = FoldComparison(-0.1, Interval(-0.3, 0.1), seeds=2, folds=5)
    told = metrics(found(0.6, 0.9, folds=folds))
    assert told["transfer"]["verdict"] == "undecided" and told["control"] is None
    assert told["transfer"]["folds"]["seeds"] == 2


@pytest.mark.parametrize(
    ("folds", "text"),
    [
        (
            None,
            "The transferred model is the one that is packaged: test images choose no model, and the two were not "
            "compared over the folds of the training images (train.control_seeds: 0).",
        ),
        (
            FoldComparison(-0.1, Interval(-0.3, 0.1), seeds=1, folds=5),
            "The transferred model is the one that is packaged: test images choose no model, and over the folds it is "
            "not shown to be worse than the control.",
        ),
        (
            AGAINST,
            "As the control is better over the folds, whose images are training images, it is the one that is "
            "packaged. The test images had no say in that.",
        ),
    ],
)
def test_the_report_says_which_model_is_delivered_and_by_what(folds: FoldComparison | None, text: str) -> None:
    assert transfer_sentence(found(0.6, 0.9, folds=folds).transfer).endswith(text)


def test_the_report_says_what_the_control_had() -> None:
    had = {"steps": 320, "epochs": 46, "images": 200, "learning_rate": 0.003, "tried": [[0.001, 0.5], [0.003, 0.6]]}
    told = found(0.9, 0.6, budgets={None: had})
    assert metrics(told)["transfer"]["control_budget"] == had
    assert transfer_sentence(told.transfer).startswith(
        "The same network was trained from scratch on the same images, with a budget and a rate of its own: 320 steps "
        "(46 epochs of 200 images) at a learning rate of 0.003, the best of short tries on held-out training images. "
        "Accuracy"
    )
    unknown = transfer_sentence(found(0.9, 0.6).transfer)
    assert unknown.startswith("The same network was trained from scratch on the same images. Accuracy")


def test_the_report_says_all_of_it() -> None:
    folds = FoldComparison(0.2, Interval(0.1, 0.3), seeds=1, folds=5)
    text = transfer_sentence(found(0.9, 0.6, folds=folds, similarity={"says": "The source is near."}).transfer)
    assert "1 seed by 5 folds" in text and "+20.0 percentage points on average" in text
    assert "+10.0 to +30.0" in text and text.endswith("The source is near.")
