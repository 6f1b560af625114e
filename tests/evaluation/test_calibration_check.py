"""What model.json promises, measured: calibration, coverage and novelty against direct counts, and where nothing is."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss

from graft.calibration.fitted_trust import FittedTrust, Novelty, Temperature, Threshold
from graft.calibration.temperature import softmax_at
from graft.evaluation.calibration_check import check_calibration, to_json
from graft.inference.predictor import Predictions
from graft.metrics.classification import METRICS
from graft.stats.bootstrap import Resampling

TRUST = FittedTrust(
    Temperature(3.0, 2.5, 3.5, 200, None), Threshold(0.6, 0.9, 200, None), Novelty(0.4, 2, 0.95, 200, 300)
)
N = 600
ZEROS, NONE = np.zeros(4, dtype=np.intp), np.array([], dtype=np.intp)


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    """Logits three times too large, and labels."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (N, 4))
    shares = softmax_at(logits, 1.0)
    return 3 * logits, (shares.cumsum(axis=1) < rng.random((N, 1))).sum(axis=1)


def test_calibration_is_told_before_and_after(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = case
    after, before = softmax_at(logits, 3.0), softmax_at(logits, 1.0)
    found = check_calibration(labels, Predictions(after, None), TRUST, Resampling(np.arange(N), 300, 0)).calibration
    assert found is not None and found.gained_interval is not None
    assert found.log_loss_before == pytest.approx(log_loss(labels, before, labels=range(4)))
    assert found.log_loss_after == pytest.approx(log_loss(labels, after, labels=range(4)))
    assert found.gained == pytest.approx(found.log_loss_before - found.log_loss_after)
    # The planted temperature is the right one, so that it helps for certain.
    assert 0 < found.gained_interval.low < found.gained < found.gained_interval.high
    assert found.ece_before == pytest.approx(METRICS.score("calibration_error", labels, before).value)
    assert found.ece_after == METRICS.score("calibration_error", labels, after).value < found.ece_before / 2


def test_coverage_and_accuracy_of_what_is_answered(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = case
    p = softmax_at(logits, 3.0)
    novelty = np.linspace(0, 1.25, N)
    found = check_calibration(labels, Predictions(p, novelty), TRUST, Resampling(np.arange(N), 300, 0))
    sure, right = p.max(axis=1) >= 0.6, p.argmax(axis=1) == labels
    assert found.coverage.value == sure.mean() and found.answered.value == right[sure].mean()
    assert found.unsure.value == right[~sure].mean() < found.answered.value
    assert (found.answered.images, found.coverage.images) == (sure.sum(), N)
    assert found.usual.value == pytest.approx(0.8, abs=0.01)
    error = np.sqrt(found.answered.value * (1 - found.answered.value) / sure.sum())
    assert found.answered.interval is not None
    assert found.answered.interval.high - found.answered.interval.low == pytest.approx(4 * error, rel=0.25)
    said = to_json(found)
    assert set(said) == {"calibration", "unsure", "novelty"}
    assert said["unsure"]["below"] == 0.6 and said["unsure"]["accuracy_ci95"] == found.answered.interval.pair()
    assert said["novelty"]["reference_images"] == 300 and said["calibration"]["temperature_ci95"] == [2.5, 3.5]


def test_what_cannot_be_told_is_null_with_a_reason() -> None:
    p = np.tile([0.9, 0.1], (4, 1))
    found = check_calibration(
        np.zeros(4, dtype=np.intp), Predictions(p, None), FittedTrust(), Resampling(np.arange(4), 100, 0)
    )
    assert found.coverage.value == 1.0
    assert (found.unsure.value, found.unsure.reason) == (None, "the model is sure of every test image")
    assert (found.usual.value, found.usual.reason) == (None, "the training held out no images")
    assert found.answered.interval is not None and found.answered.interval.low < 0.6, "four images prove little"
    said = to_json(found)
    assert said["unsure"]["accuracy_of_unsure_reason"] == "the model is sure of every test image"
    assert said["novelty"]["usual_reason"] == "the training held out no images"
    sure_of_none = check_calibration(
        np.zeros(4, dtype=np.intp),
        Predictions(p, None),
        FittedTrust(threshold=Threshold(0.95)),
        Resampling(np.arange(4), 100, 0),
    )
    assert sure_of_none.answered.reason == "the model is sure of no test image"
    nothing = check_calibration(
        np.array([], dtype=np.intp),
        Predictions(np.empty((0, 2)), None),
        FittedTrust(),
        Resampling(np.array([], dtype=int), 9, 0),
    )
    assert nothing.calibration is None and nothing.coverage.reason == "there are no test images"
    assert to_json(nothing)["calibration"]["log_loss_after"] is None
