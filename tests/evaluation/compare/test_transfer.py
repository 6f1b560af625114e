"""The verdict on planted cases: helping, equal, harmful, too few to say, no control."""

from __future__ import annotations

import numpy as np
import pytest

from graft.evaluation.compare.transfer import (
    BY_CONTROL,
    BY_PROBE,
    TransferComparison,
    by_evidence,
    compare_with_control,
    label_curve,
    verdict_of,
)
from graft.reporting.sections.summary import transfer_sentence
from graft.selection.evidence import RANDOM_WEIGHTS, EvidenceRow
from graft.stats.bootstrap import Interval, Resampling
from graft.stats.paired import compare_pair
from tests.planted_evaluation import named_rightly, sure_of

N, K = 600, 3
LABELS = np.arange(N) % K


def _model(share: float, seed: int) -> np.ndarray:
    right = np.random.default_rng(seed).random(N) < share
    return sure_of(named_rightly(LABELS, right, K), K)


@pytest.mark.parametrize(
    ("ours", "control", "verdict"), [(0.9, 0.7, "helps"), (0.8, 0.8, "undecided"), (0.6, 0.8, "hurts")]
)
def test_planted_cases(ours: float, control: float, verdict: str) -> None:
    found = compare_with_control(LABELS, _model(ours, 0), _model(control, 1), Resampling(np.arange(N), 1000, 0), 20)
    assert found.verdict == verdict
    assert found.transferred is not None and found.control is not None and found.interval is not None
    assert found.difference == pytest.approx(found.transferred.accuracy - found.control.accuracy)
    assert found.interval.low <= found.difference <= found.interval.high
    assert found.labels_per_class == 20 and found.reason is None


def test_same_model_twice_is_undecided() -> None:
    model = _model(0.8, 0)
    found = compare_with_control(LABELS, model, model, Resampling(np.arange(N), 1000, 0))
    assert found.verdict == "undecided" and found.difference == 0
    assert found.interval is not None and found.interval.low < 0 < found.interval.high


@pytest.mark.parametrize(("differing", "verdict"), [(5, "undecided"), (6, "helps")])
def test_a_handful_of_images_cannot_decide(differing: int, verdict: str) -> None:
    right = np.arange(N) >= differing
    ours, control = sure_of(LABELS, K), sure_of(named_rightly(LABELS, right, K), K)
    found = compare_with_control(LABELS, ours, control, Resampling(np.arange(N), 1000, 0))
    assert found.interval is not None and (found.interval.low > 0) == (verdict == "helps")
    assert found.verdict == verdict and found.reason is None


@pytest.mark.parametrize(("ours", "control"), [(7, 1), (9, 2), (10, 3), (12, 4), (8, 1), (14, 4)])
def test_the_verdict_on_transfer_is_that_of_comparing_two_models(ours: int, control: int) -> None:
    labels, place = np.zeros(100, dtype=np.intp), np.arange(100)
    right = [place >= control, (place < control) | (place >= control + ours)]
    said = [sure_of(named_rightly(labels, who, 2), 2) for who in right]
    found = compare_with_control(labels, *said, Resampling(place, 1000, 0))
    pair = compare_pair(*right, place)
    assert (found.difference, found.interval, found.p_value) == (pair.difference, pair.interval, pair.p_value)
    assert found.verdict == {"first": "helps", "second": "hurts", "undecided": "undecided"}[pair.better]


def test_copies_of_one_image_count_once() -> None:
    # Twenty images differ, but they are one group.
    right = np.arange(N) >= 20
    units = np.where(right, np.arange(N) - 19, 0)
    control = sure_of(named_rightly(LABELS, right, K), K)
    found = compare_with_control(LABELS, sure_of(LABELS, K), control, Resampling(units, 1000, 0))
    assert found.verdict == "undecided"


def test_without_a_control_it_is_undecided_and_says_why() -> None:
    found = compare_with_control(
        LABELS, _model(0.8, 0), None, Resampling(np.arange(N), 100, 0), no_control="none was asked for"
    )
    assert (found.verdict, found.reason, found.difference) == ("undecided", "none was asked for", None)
    assert found.to_json()["control_accuracy"] is None


def test_bounds_decide() -> None:
    assert verdict_of(Interval(0.001, 0.2)) == "helps"
    assert verdict_of(Interval(-0.2, -0.001)) == "hurts"
    assert verdict_of(Interval(0.0, 0.2)) == verdict_of(Interval(-0.2, 0.0)) == "undecided"


def compared(ours: float, control: float | None, count: int | None = None) -> TransferComparison:
    scratch = None if control is None else _model(control, 1)
    return compare_with_control(LABELS, _model(ours, 0), scratch, Resampling(np.arange(N), 200, 0), count)


def test_curve_goes_from_few_labels_to_many() -> None:
    few, whole = compared(0.8, 0.5, 2), compared(0.9, 0.7, 5)
    for given in ([few, whole], [whole, few]):
        assert label_curve(given) == (few, whole)


def test_the_curve_has_no_point_without_a_control_or_without_a_count_and_is_none_of_one_comparison() -> None:
    few = compared(0.8, 0.5, 2)
    assert label_curve([few, compared(0.9, None, 5)]) == (few,)
    assert label_curve([few, compared(0.9, 0.7, None)]) == (few,)
    assert label_curve([compared(0.9, 0.7, 5)]) == label_curve([]) == ()


def test_the_whole_training_set_is_the_point_of_its_count() -> None:
    """Asked for also by ``label_counts``, it is one point and not two."""
    whole = compared(0.9, 0.7, 5)
    assert label_curve([compared(0.8, 0.5, 2), compared(0.6, 0.5, 5), whole])[1:] == (whole,)


def evidence(low: float, high: float, rival: str = RANDOM_WEIGHTS) -> tuple[EvidenceRow, ...]:
    return (EvidenceRow(rival, 0.9, 0.9 - (low + high) / 2, (low + high) / 2, (low, high), "accuracy"),)


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.1, 0.3, "helps"), (-0.1, 0.3, "undecided"), (-0.3, -0.1, "hurts")]
)
def test_without_a_control_the_cheap_evidence_decides_and_says_so(low: float, high: float, verdict: str) -> None:
    found = by_evidence(compared(0.8, None), evidence(low, high))
    assert (found.verdict, found.rule, found.difference) == (verdict, BY_PROBE, None)
    assert found.reason == "no control was trained", "why there is nothing better to go by"
    assert transfer_sentence(found) == f"The verdict goes by {BY_PROBE}: no control was trained."


def test_with_a_control_the_cheap_evidence_is_told_and_decides_nothing() -> None:
    alone, against = compared(0.9, 0.6), evidence(-0.3, -0.1)
    found = by_evidence(alone, against)
    assert (found.verdict, found.rule, found.evidence) == ("helps", BY_CONTROL, against)
    assert (found.difference, found.interval) == (alone.difference, alone.interval)


def test_what_beats_raw_pixels_alone_decides_nothing() -> None:
    """Random weights are the rival that transfer is about."""
    found = by_evidence(compared(0.8, None), evidence(0.1, 0.3, "raw pixels"))
    assert (found.verdict, found.rule) == ("undecided", BY_CONTROL) and len(found.evidence) == 1
    assert by_evidence(compared(0.8, None), ()).verdict == "undecided"
