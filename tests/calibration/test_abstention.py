"""When the model says "not sure": the rule against a search by hand, its two ends, and the curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from graft.calibration.abstention import MOST_POINTS, choose_threshold, coverage_table


def two_columns(confidence: list[float], right: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, 2) of these confidences, and labels that make these answers right."""
    top = np.array(confidence)
    return np.stack([top, 1 - top], axis=1), np.where(np.array(right, dtype=bool), 0, 1)


@given(
    st.lists(st.tuples(st.integers(51, 99).map(lambda x: x / 100), st.booleans()), min_size=1, max_size=60),
    st.sampled_from([0.6, 0.9, 1.0]),
)
def test_it_is_the_smallest_confidence_whose_bound_reaches_the_target(
    said: list[tuple[float, bool]], target: float
) -> None:
    confidence, right = map(list, zip(*said, strict=True))
    found = choose_threshold(*two_columns(confidence, right), np.arange(len(said)), target)
    reaching = []
    for least in sorted(set(confidence)):
        kept = [r for c, r in said if c >= least]
        # SciPy's own interval, two-sided at 90%: its lower end is the one-sided bound at 95%.
        bound = binomtest(sum(kept), len(kept)).proportion_ci(0.9, "exact").low
        if bound >= target:
            reaching.append((least, len(kept), bound))
    if reaching:
        least, count, bound = reaching[0]
        assert (found.confidence, found.reason) == (pytest.approx(least), None)
        assert (found.n_answered, found.accuracy_bound) == (count, pytest.approx(bound, abs=1e-4))
        assert found.confidence <= least, "the image whose confidence it is must still be answered"
    else:
        assert (found.confidence, found.n_answered, found.accuracy_bound) == (target, 0, None)
        assert found.reason == (
            f"{len(said)} held-out images prove for no confidence that {target:.1%} of the answers are right, so "
            "confidence must say that"
        )


@pytest.mark.parametrize("count", [40, 120, 400])
def test_the_promised_accuracy_is_kept_in_nearly_all_fits(count: int) -> None:
    """Calibrated answers, of which 90% are right: choosing by the accuracy itself kept the promise in half the fits."""
    rng = np.random.default_rng(count)
    many = 0.5 + 0.5 * rng.beta(1.2, 0.3, 100_000)
    kept = []
    for _ in range(200):
        chance = 0.5 + 0.5 * rng.beta(1.2, 0.3, count)
        right = rng.random(count) < chance
        found = choose_threshold(*two_columns(chance.tolist(), right.tolist()), np.arange(count), 0.95)
        kept.append(many[many >= found.confidence].mean() >= 0.95)
    assert np.mean(kept) >= 0.93


def test_images_of_one_group_are_one_piece_of_evidence() -> None:
    said = two_columns([0.9] * 100, [True] * 100)
    alone, together = (choose_threshold(*said, units, 0.95) for units in (np.arange(100), np.arange(100) // 10))
    assert (alone.confidence, alone.accuracy_bound) == (0.9, pytest.approx(0.05 ** (1 / 100), abs=1e-4))
    assert together.confidence == 0.95 and together.reason is not None


def test_it_is_never_below_one_half() -> None:
    p = np.concatenate([np.tile([0.4, 0.3, 0.3], (40, 1)), np.tile([0.6, 0.3, 0.1], (60, 1))])
    found = choose_threshold(p, np.zeros(100, dtype=np.intp), np.arange(100), 0.95)
    assert (found.confidence, found.n_answered) == (0.6, 60)


def test_curve_goes_from_the_surest_answer_to_all() -> None:
    rng = np.random.default_rng(0)
    p, labels = rng.dirichlet([1, 1, 1], 1000), rng.integers(0, 3, 1000)
    table = coverage_table(p, labels)
    assert list(table) == ["confidence", "coverage", "accuracy", "answered"] and len(table) == MOST_POINTS
    assert (np.diff(table["coverage"]) > 0).all() and (np.diff(table["confidence"]) < 0).all()
    last = table.iloc[-1]
    assert (last["coverage"], last["accuracy"]) == (1.0, pytest.approx((p.argmax(1) == labels).mean()))
    for row in table.iloc[::40].itertuples():
        kept = p.max(axis=1) >= row.confidence
        assert (row.answered, row.coverage) == (kept.sum(), pytest.approx(kept.mean()))
        assert row.accuracy == pytest.approx((p.argmax(1) == labels)[kept].mean())


def test_curve_without_images_has_no_rows() -> None:
    table = coverage_table(np.empty((0, 2)), np.array([], dtype=np.intp))
    assert list(table) == ["confidence", "coverage", "accuracy", "answered"] and len(table) == 0
