"""When the model says "not sure": the rule against a search by hand, its two ends, and the curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.trust.threshold import LEAST_IMAGES, MOST_POINTS, choose_threshold, coverage_table


def two_columns(confidence: list[float], right: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, 2) of these confidences, and labels that make these answers right."""
    top = np.array(confidence)
    return np.stack([top, 1 - top], axis=1), np.where(np.array(right, dtype=bool), 0, 1)


@given(
    st.lists(st.tuples(st.integers(51, 99).map(lambda x: x / 100), st.booleans()), min_size=20, max_size=60),
    st.sampled_from([0.6, 0.9, 1.0]),
)
def test_it_is_the_smallest_confidence_that_reaches_the_target(said: list[tuple[float, bool]], target: float) -> None:
    confidence, right = map(list, zip(*said, strict=True))
    found = choose_threshold(*two_columns(confidence, right), target)
    reaching = []
    for least in sorted(set(confidence)):
        kept = [r for c, r in said if c >= least]
        if len(kept) >= LEAST_IMAGES and sum(kept) / len(kept) >= target:
            reaching.append(least)
    if reaching:
        assert (found.confidence, found.reason) == (pytest.approx(reaching[0]), None)
        assert found.confidence <= reaching[0], "the image whose confidence it is must still be answered"
    else:
        assert found.confidence == target and "no 20 held-out answers are right" in str(found.reason)


def test_too_few_images_give_one_half() -> None:
    found = choose_threshold(*two_columns([0.9] * 19, [True] * 19), 0.95)
    assert (found.confidence, found.n_fitted) == (0.5, 19)
    assert found.reason == "19 held-out images are too few to choose it on; at least 20 are needed"


def test_it_is_never_below_one_half() -> None:
    p = np.tile([0.4, 0.3, 0.3], (40, 1))
    assert choose_threshold(p, np.zeros(40, dtype=np.intp), 0.95).confidence == 0.5


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
