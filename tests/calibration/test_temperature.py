"""The temperature against planted ones, against a search by brute force, and where images are few."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from graft.calibration.temperature import (
    LEAST_UNITS,
    PRIOR_SPREAD,
    fit_temperature,
    log_loss_at,
    softmax_at,
    uncalibrated,
)


def calibrated_case(count: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a network that is exactly as sure as it is right, and labels drawn from its probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, classes))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return logits, (shares.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)


@pytest.mark.parametrize("planted", [0.5, 1.0, 2.0, 4.0])
def test_a_planted_temperature_is_found(planted: float) -> None:
    logits, labels = calibrated_case(5_000, 5, 0)
    found = fit_temperature(logits * planted, labels, np.arange(5_000))
    assert found.value == pytest.approx(planted, rel=0.1)
    assert found.low is not None and found.high is not None
    assert found.low <= planted <= found.high and found.high / found.low < 1.25
    assert found.n_fitted == 5_000 and (found.reason is None) == (planted != 1)


def test_it_is_the_least_of_what_it_says_it_minimises() -> None:
    logits, labels = calibrated_case(60, 3, 1)
    logits *= 3
    grid = np.exp(np.linspace(-0.5, 2, 251))
    # Counted out by scikit-learn, image by image, with the penalty written down.
    missed = [
        60 * log_loss(labels, softmax_at(logits, t), labels=range(3)) + math.log(t) ** 2 / (2 * PRIOR_SPREAD**2)
        for t in grid
    ]
    found = fit_temperature(logits, labels, np.arange(60))
    assert found.value == pytest.approx(grid[int(np.argmin(missed))], rel=6e-3)
    inside = grid[np.asarray(missed) <= min(missed) + 1.9207]
    assert (found.low, found.high) == pytest.approx((inside[0], inside[-1]), rel=2e-2)


def test_few_images_do_not_move_it_far_and_fewer_not_at_all() -> None:
    logits, labels = calibrated_case(4000, 5, 2)
    best = {n: fit_temperature(4 * logits[:n], labels[:n], np.arange(n)).value for n in (LEAST_UNITS, 100, 4000)}
    assert 1 <= best[LEAST_UNITS] < best[100] < best[4000] * 1.02 and best[LEAST_UNITS] < 3
    found = fit_temperature(4 * logits[:9], labels[:9], np.arange(9))
    assert (found.value, found.low) == (1.0, None)
    assert found.reason == "9 held-out images or groups are too few to fit it on; at least 10 are needed"


def test_all_right_does_not_make_it_certain() -> None:
    logits = 2 * np.eye(4)[np.arange(40) % 4]
    found = fit_temperature(logits, np.arange(40) % 4, np.arange(40))
    # Log loss alone has its minimum at T = 0, where every probability is 0 or 1.
    assert 0.3 < found.value <= 1


@pytest.mark.parametrize("seed", range(5))
def test_what_is_not_shown_to_be_needed_is_not_done(seed: int) -> None:
    """Forty images of a network that is as sure as it is right: their best temperature is luck."""
    logits, labels = calibrated_case(40, 5, 10 + seed)
    found = fit_temperature(logits, labels, np.arange(40))
    assert found.low is not None and found.high is not None and found.low <= 1 <= found.high
    assert found.value == 1.0
    assert found.reason == (
        f"40 held-out images do not show that another than 1 is better (95%: {found.low:.2f} to {found.high:.2f})"
    )


def test_a_group_of_copies_is_no_more_evidence_than_one() -> None:
    logits, labels = calibrated_case(30, 3, 3)
    once = fit_temperature(4 * logits, labels, np.arange(30))
    units = np.repeat(np.arange(30), 20)
    again = fit_temperature(4 * logits.repeat(20, axis=0), labels.repeat(20), units)
    assert (again.value, again.low, again.high) == (once.value, once.low, once.high)
    assert again.n_fitted == 600


@given(
    logits=st.lists(st.lists(st.floats(-30, 30), min_size=3, max_size=3), min_size=1, max_size=8),
    temperature=st.floats(0.1, 10),
)
def test_temperature_never_changes_an_answer_and_can_be_taken_back(
    logits: list[list[float]], temperature: float
) -> None:
    z = np.array(logits)
    p = softmax_at(z, temperature)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    # Where two logits differ by less than doubles tell apart, either may be first.
    first, second = np.sort(p, axis=1)[:, -1], np.sort(p, axis=1)[:, -2]
    clear = first - second > 1e-12
    assert (p.argmax(axis=1) == z.argmax(axis=1))[clear].all()
    np.testing.assert_allclose(uncalibrated(p, temperature), softmax_at(z, 1.0), atol=1e-9)


def test_log_loss_is_scikit_learns() -> None:
    logits, labels = calibrated_case(50, 4, 5)
    assert log_loss_at(logits, labels, 1.7) == pytest.approx(log_loss(labels, softmax_at(logits, 1.7), labels=range(4)))
