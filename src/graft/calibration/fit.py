"""Fit what model.json says of its model: temperature, threshold, novelty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graft.calibration.abstention import choose_threshold
from graft.calibration.fitted_trust import FittedTrust
from graft.calibration.novelty import fit_novelty
from graft.calibration.temperature import fit_temperature, softmax_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from graft.core.settings import Trust as Settings


@dataclass(frozen=True)
class OutOfFoldLogits:
    """What networks of the delivered one's recipe say of training images that they were not trained on.

    Attributes:
        logits: (n, classes), each row by the network whose training left the image's fold out.
        labels: class indices (n).
        groups: int (n,): equal for images of one group.
    """

    logits: NDArray[np.floating]
    labels: NDArray[np.intp]
    groups: NDArray[np.intp]


@dataclass(frozen=True)
class SeenFeatures:
    """What the delivered network's head receives of training images, see :func:`graft.calibration.novelty.chosen_rows`.

    Attributes:
        features: (r, d).
        groups: int (r,): equal for images of one group.
    """

    features: NDArray[np.float32]
    groups: NDArray[np.intp]


@dataclass(frozen=True)
class CalibrationFit:
    """What goes into model.json, and the features (r, d) that go beside the model; None where there is no threshold."""

    trust: FittedTrust
    reference: NDArray[np.float32] | None


NOT_FITTED = CalibrationFit(FittedTrust(), None)


def fit_calibration(unseen: OutOfFoldLogits, seen: SeenFeatures, settings: Settings) -> CalibrationFit:
    """Fit temperature, threshold and novelty of the network that is delivered; test images have no part in it.

    Temperature and threshold are fitted on out-of-fold logits, because the network itself is surer of what it has seen.
    Novelty is a distance between features of one network, so it is fitted on the delivered one's own. What all three
    are worth is measured on the test images.

    Args:
        unseen: logits of training images; however few images a class has, the others count.
        seen: features of those that are kept beside the model.
        settings: section ``trust`` of params.yaml.
    """
    temperature = fit_temperature(unseen.logits, unseen.labels, unseen.groups)
    calibrated = softmax_at(unseen.logits, temperature.value)
    threshold = choose_threshold(calibrated, unseen.labels, unseen.groups, settings.answered_accuracy)
    novelty = fit_novelty(seen.features, seen.groups, settings.in_distribution_share)
    return CalibrationFit(
        FittedTrust(temperature, threshold, novelty), None if novelty.distance is None else seen.features
    )
