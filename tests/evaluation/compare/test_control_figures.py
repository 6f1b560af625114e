"""What metrics.json and the report say of the control, and of the source, beside the verdict."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from graft.evaluation.compare.control_folds import FoldComparison
from graft.evaluation.compare.transfer import NOT_COMPARED
from graft.evaluation.evaluation import ClassifierEvaluation, metrics
from graft.evaluation.held_out import HeldOutSet
from graft.reporting.sections.summary import transfer_sentence
from graft.selection.evidence import RANDOM_WEIGHTS, EvidenceRow
from graft.stats.bootstrap import Interval
from tests.planted_evaluation import judged, named_rightly, sure_of

N, CLASSES = 300, ("ant", "bee", "wasp")
LABELS = np.arange(N) % 3
DELIVERED = "The transferred model is delivered all the same, as test images choose no model"
AGAINST = FoldComparison(-0.2, Interval(-0.3, -0.1), seeds=1, folds=5)
GAINS = EvidenceRow(RANDOM_WEIGHTS, 0.9, 0.5, 0.4, (0.3, 0.5), "accuracy")


def found(ours: float, control: float | None, **more: object) -> ClassifierEvaluation:
    luck = np.random.default_rng(0).random(N)
    model, scratch = (
        None if share is None else sure_of(named_rightly(LABELS, luck < share, 3), 3) for share in (ours, control)
    )
    assert model is not None
    held_out = HeldOutSet(CLASSES, tuple(map(str, range(N))), LABELS, np.arange(N), np.full(3, 20))
    made = judged(held_out, model, 300, scratch, **more)  # type: ignore[arg-type]
    assert isinstance(made, ClassifierEvaluation)
    return made


def test_where_nothing_was_compared_yet_nothing_is_said_of_transfer() -> None:
    """Not even that it is undecided: so has the stage `score` it, before the control is trained."""
    told = metrics(dataclasses.replace(found(0.9, None), transfer=NOT_COMPARED, curve=()))
    assert "transfer" not in told and "label_curve" not in told and told["production"] is None
    assert {"accuracy", "accuracy_ci95", "macro_f1", "log_loss", "majority", "size_mb", "latency_ms"} <= set(told)
    assert metrics(found(0.9, None))["transfer"]["verdict"] == "undecided"


def test_folds_can_withhold_the_verdict() -> None:
    folds = FoldComparison(-0.1, Interval(-0.3, 0.1), seeds=2, folds=5)
    told = metrics(found(0.6, 0.9, folds=folds))
    assert told["transfer"]["verdict"] == "undecided" and told["transfer"]["folds"]["seeds"] == 2


def test_a_model_that_transfer_hurt_is_delivered_and_the_report_says_what_may_be_done() -> None:
    text = transfer_sentence(found(0.6, 0.9, folds=AGAINST).transfer)
    assert DELIVERED in text and "name it among zoo.candidates with `weights: none`." in text
    assert DELIVERED not in transfer_sentence(found(0.9, 0.6).transfer)
    assert DELIVERED not in transfer_sentence(found(0.8, 0.8).transfer)


def test_the_report_says_what_the_control_had() -> None:
    tried = [[0.001, 0.5], [0.003, 0.6]]
    had = {"steps": 320, "epochs": 46, "images": 200, "learning_rate": 0.003, "size": 96, "tried": tried}
    told = found(0.9, 0.6, budget=had)
    assert metrics(told)["transfer"]["control_budget"] == had
    assert transfer_sentence(told.transfer).startswith(
        "The same network was trained from scratch on the same images, with a budget and a rate of its own: 320 steps "
        "(46 epochs of 200 images) at a learning rate of 0.003, the best of short tries on held-out training images; "
        "with images of 96 px. Accuracy"
    )
    unknown = transfer_sentence(found(0.9, 0.6).transfer)
    assert unknown.startswith("The same network was trained from scratch on the same images. Accuracy")


def test_the_report_says_all_of_it() -> None:
    folds = FoldComparison(0.2, Interval(0.1, 0.3), seeds=1, folds=5)
    text = transfer_sentence(found(0.9, 0.6, folds=folds, similarity={"says": "The source is near."}).transfer)
    assert "On 5 folds of the training images, 1 seed of the control, the difference is +20.0 percentage" in text
    assert "+10.0 to +30.0" in text and text.endswith("The source is near.")


def test_the_cheap_evidence_is_written_beside_the_verdict() -> None:
    told = metrics(found(0.9, 0.6, evidence=(GAINS,)))["transfer"]
    assert json.loads(json.dumps(told["evidence"])) == [{**dataclasses.asdict(GAINS), "gain_ci95": [0.3, 0.5]}]
    assert told["rule"] == "the delivered model against the same network trained from scratch, on the same test images"
    assert metrics(found(0.9, 0.6))["transfer"]["evidence"] == []
