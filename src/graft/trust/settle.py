"""From held-out training images to what a model's card says of its answers: temperature, threshold, novelty."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from graft.trust.card import Novelty, Trust
from graft.trust.novelty import chosen_rows, features_of, fit_novelty, neighbour
from graft.trust.temperature import fit_temperature, softmax_at
from graft.trust.threshold import choose_threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.settings import Trust as Settings
    from graft.zoo.network import Network
    from graft.zoo.preprocessing import Preprocessing


class Watched(Protocol):
    """What a network of the same recipe said of training images that were held out from it, at its best epoch."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """Indices of the held-out images among all training images, (m)."""

    @property
    def logits(self) -> NDArray[np.float32]:
        """(m, classes)."""

    @property
    def features(self) -> NDArray[np.float32]:
        """What its head received of the same images, (m, d)."""

    @property
    def shown(self) -> NDArray[np.float32]:
        """What its head received of images that it was trained on, (r, d)."""


@dataclass(frozen=True)
class Shown:
    """The training images; never test images.

    Attributes:
        images: prepared, uint8 (n, size, size, 3).
        labels: class indices (n).
        units: int (n,): equal for images of one group.
        preprocessing: the model's.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.intp]
    units: NDArray[np.intp]
    preprocessing: Preprocessing


@dataclass(frozen=True)
class Settled:
    """What goes into the card, and the features (r, d) that go beside the model; None where there is no threshold."""

    trust: Trust
    reference: NDArray[np.float32] | None


NOT_SETTLED = Settled(Trust(), None)


def settle(network: Network, watched: Watched | None, shown: Shown, settings: Settings, seed: int) -> Settled:
    """Fit temperature, threshold and novelty for ``network``.

    All are fitted on what another network of the same recipe says of images that it has not seen: the model itself has
    seen all training images, is surer of them than of any others, and has features nearer to theirs. It has seen a
    few more images than the other, so that the figures err, if anything, towards caution; what they are worth is
    measured on the test images.

    Args:
        network: the model, trained on all of ``shown``.
        watched: None where nothing was held out; then the card says so, and the model is as it was.
        shown: all training images.
        settings: section ``trust`` of params.yaml.
        seed: for the images that are kept.
    """
    if watched is None:
        return NOT_SETTLED
    rows, labels = watched.rows, shown.labels[watched.rows]
    temperature = fit_temperature(watched.logits, labels, shown.units[rows])
    threshold = choose_threshold(softmax_at(watched.logits, temperature.value), labels, settings.answered_accuracy)
    novelty = fit_novelty(watched.features, watched.shown, settings.usual_share)
    if novelty.distance is None:
        return Settled(Trust(temperature, threshold, novelty), None)
    kept = chosen_rows(shown.labels, settings.reference_images, seed)
    reference = features_of(network, shown.preprocessing, shown.images[kept])
    return Settled(Trust(temperature, threshold, _among(novelty, len(kept))), reference)


def _among(novelty: Novelty, images: int) -> Novelty:
    """The same with the neighbour among as many images as are kept: the same share of them."""
    return dataclasses.replace(novelty, k=neighbour(images), images=images)
