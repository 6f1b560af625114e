"""Calibration, abstention and novelty on the test images: whether what model.json promises holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.calibration.temperature import uncalibrated
from graft.metrics.classification import METRICS, log_losses
from graft.metrics.outcomes import Outcomes
from graft.stats.bootstrap import Interval, Resampling, pair_of, percentile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.calibration.fitted_trust import FittedTrust
    from graft.inference.predictor import Predictions


@dataclass(frozen=True)
class Share:
    """A share of images in [0, 1] with its 95% interval and the images it is of; None with a reason where of none."""

    value: float | None
    interval: Interval | None
    images: int
    reason: str | None = None

    def to_json(self, name: str) -> dict[str, Any]:
        """As metrics.json has it; with ``<name>_reason`` where it is null."""
        reason = {} if self.value is not None else {f"{name}_reason": self.reason}
        return {name: self.value, f"{name}_ci95": pair_of(self.interval), **reason}


@dataclass(frozen=True)
class Calibration:
    """The test images at temperature 1 (before) and at model.json's (after).

    Log losses in nats, calibration errors in [0, 1]; ``gained`` is the mean of the loss before minus that after, above
    0 better, with its paired 95% interval.
    """

    log_loss_before: float
    log_loss_after: float
    ece_before: float
    ece_after: float
    gained: float
    gained_interval: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Its part of the section ``calibration``."""
        values = asdict(self) | {"gained_interval": pair_of(self.gained_interval)}
        names = {"gained": "log_loss_gained", "gained_interval": "log_loss_gained_ci95"}
        return {names.get(name, name): value for name, value in values.items()}


_NO_IMAGES = ("log_loss_before", "log_loss_after", "ece_before", "ece_after", "log_loss_gained", "log_loss_gained_ci95")


@dataclass(frozen=True)
class CalibrationCheck:
    """What model.json says, and what came of it on the test images.

    Attributes:
        trust: that part of model.json.
        calibration: None where there are no images.
        coverage: the share of images that are answered, which is to say not marked as unsure.
        answered: the share of these that is named rightly.
        unsure: the share of the others that is named rightly.
        usual: the share of images that are not called unlike the training images.
    """

    trust: FittedTrust
    calibration: Calibration | None
    coverage: Share
    answered: Share
    unsure: Share
    usual: Share


def check_calibration(
    labels: NDArray[np.intp], said: Predictions, trust: FittedTrust, resampling: Resampling
) -> CalibrationCheck:
    """Measure on test images what was fitted on training images.

    Args:
        labels: class indices (n).
        said: the model's calibrated probabilities and novelty.
        trust: the part of model.json.
        resampling: what the bootstrap draws.
    """
    probabilities = said.outputs
    everywhere = np.ones(len(labels), dtype=bool)
    right = probabilities.argmax(axis=1) == labels
    sure = probabilities.max(axis=1, initial=0.0) >= trust.threshold.confidence
    usual = Share(None, None, 0, trust.novelty.reason or "the model keeps no features to compare with")
    if said.novelty is not None:
        usual = share_of(said.novelty <= 1, everywhere, resampling, "there are no test images")
    return CalibrationCheck(
        trust=trust,
        calibration=_calibration(labels, probabilities, trust.temperature.value, resampling) if len(labels) else None,
        coverage=share_of(sure, everywhere, resampling, "there are no test images"),
        answered=share_of(right, sure, resampling, "the model is sure of no test image"),
        unsure=share_of(right, ~sure, resampling, "the model is sure of every test image"),
        usual=usual,
    )


def share_of(what: NDArray[np.bool_], among: NDArray[np.bool_], resampling: Resampling, reason: str) -> Share:
    """The share of the images ``among`` that ``what`` holds for; both (n,)."""
    count = int(among.sum())
    if count == 0:
        return Share(None, None, 0, reason)
    both = np.stack([what & among, among]).astype(np.float64)
    with np.errstate(invalid="ignore"):
        values = resampling.distribution(lambda counts: np.divide(*(both @ counts)))
    units = len(np.unique(resampling.units[among]))
    return Share(float(what[among].mean()), percentile(values, 0.0, 1.0, units), count)


def _calibration(
    labels: NDArray[np.intp], after: NDArray[np.float64], temperature: float, resampling: Resampling
) -> Calibration:
    sides = [Outcomes(labels, said) for said in (uncalibrated(after, temperature), after)]
    losses = [log_losses(side) for side in sides]
    before, now = (float(METRICS["calibration_error"].function(side)[0]) for side in sides)
    gained = losses[0] - losses[1]
    resampled = resampling.distribution(lambda counts: gained @ counts / counts.sum(axis=0))
    interval = percentile(resampled, -np.inf, np.inf, resampling.count)
    means = float(losses[0].mean()), float(losses[1].mean())
    return Calibration(means[0], means[1], before, now, float(gained.mean()), interval)


def to_json(found: CalibrationCheck) -> dict[str, Any]:
    """The sections ``calibration``, ``unsure`` and ``novelty`` of metrics.json."""
    temperature, threshold, novelty = found.trust.temperature, found.trust.threshold, found.trust.novelty
    fitted = temperature.low is not None and temperature.high is not None
    return {
        "calibration": {
            "temperature": temperature.value,
            "temperature_ci95": [temperature.low, temperature.high] if fitted else None,
            "n_fitted": temperature.n_fitted,
            "reason": temperature.reason,
            **(dict.fromkeys(_NO_IMAGES) if found.calibration is None else found.calibration.to_json()),
        },
        "unsure": {
            "below": threshold.confidence,
            "target": threshold.target,
            "n_fitted": threshold.n_fitted,
            "n_fitted_answered": threshold.n_answered,
            "accuracy_bound": threshold.accuracy_bound,
            "reason": threshold.reason,
            **found.coverage.to_json("coverage"),
            "n_answered": found.answered.images,
            **found.answered.to_json("accuracy"),
            **found.unsure.to_json("accuracy_of_unsure"),
        },
        "novelty": {
            "distance": novelty.distance,
            "neighbour": novelty.k,
            "reference_images": novelty.images,
            "target": novelty.usual,
            "n_fitted": novelty.n_fitted,
            "reason": novelty.reason,
            **found.usual.to_json("usual"),
        },
    }
