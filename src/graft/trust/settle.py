"""From held-out training images to what a model's card says of its answers: temperature, threshold, novelty."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.trust.card import Novelty, Trust
from graft.trust.novelty import fit_novelty, neighbour
from graft.trust.temperature import fit_temperature, softmax_at
from graft.trust.threshold import choose_threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.settings import Trust as Settings


@dataclass(frozen=True)
class Unseen:
    """What a network says of training images that it has not seen; never of test images.

    Attributes:
        logits: (m, k) of the held-out images.
        labels: their class indices (m).
        units: int (m,): equal for images of one group.
        features: (m, d) of the held-out images, what the head receives.
        shown: (r, d) of images that the network was trained on, by the same network.
    """

    logits: NDArray[np.floating]
    labels: NDArray[np.intp]
    units: NDArray[np.intp]
    features: NDArray[np.floating]
    shown: NDArray[np.floating]


def settle(unseen: Unseen | None, images: int, settings: Settings) -> Trust:
    """What the card of a model says of its answers.

    Everything is fitted on what another network of the same recipe says of images that it has not seen, as the
    model itself has seen all training images and is surer of them, and nearer to them, than of any others. The
    model has seen a few more, so that the figures err, if anything, towards caution.

    Args:
        unseen: None where nothing was held out; then the card says so and why.
        images: how many training images' features are kept beside the model.
        settings: section ``trust`` of params.yaml.
    """
    if unseen is None:
        return Trust()
    temperature = fit_temperature(unseen.logits, unseen.labels, unseen.units)
    calibrated = softmax_at(unseen.logits, temperature.value)
    threshold = choose_threshold(calibrated, unseen.labels, settings.answered_accuracy)
    found = fit_novelty(unseen.features, unseen.shown, settings.usual_share)
    return Trust(temperature, threshold, _for(found, images))


def _for(found: Novelty, images: int) -> Novelty:
    """The same with the neighbour of as many images as are kept: the same share of them."""
    return found if found.distance is None else dataclasses.replace(found, k=neighbour(images), images=images)
