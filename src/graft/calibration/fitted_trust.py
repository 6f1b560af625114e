"""What model.json says of how far its answers can be trusted; a file without it means as little as can be said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Below it the model itself holds its answer for likelier wrong than right.
LEAST_CONFIDENCE = 0.5
NOTHING_HELD_OUT = "the training held out no images"


@dataclass(frozen=True)
class Temperature:
    """What the logits are divided by before the softmax.

    Attributes:
        value: above 1 the network was too sure of itself, below 1 not sure enough; 1 changes nothing.
        low: lower bound of its 95% interval, None where nothing was fitted.
        high: upper bound.
        n_fitted: held-out training images that it was fitted on.
        reason: why it is 1, where nothing was fitted or what was fitted does not show that another is better.
    """

    value: float = 1.0
    low: float | None = None
    high: float | None = None
    n_fitted: int = 0
    reason: str | None = NOTHING_HELD_OUT


@dataclass(frozen=True)
class Threshold:
    """When an answer is one of which the model is not sure.

    Attributes:
        confidence: the least calibrated probability of the answer at which it counts as sure, in [0.5, 1].
        target: the accuracy that answers above it shall have; None where nothing was asked for.
        n_fitted: training images, unseen by the networks that were asked, that it was chosen on.
        reason: why it is not proven to reach the target, where that is so.
        n_answered: how many of those have at least that confidence, so that the proof rests on them; 0: no proof.
        accuracy_bound: lower 95% bound of the accuracy of these answers; None: no proof.
    """

    confidence: float = LEAST_CONFIDENCE
    target: float | None = None
    n_fitted: int = 0
    reason: str | None = NOTHING_HELD_OUT
    n_answered: int = 0
    accuracy_bound: float | None = None


@dataclass(frozen=True)
class Novelty:
    """When an image is unlike the training images.

    Attributes:
        distance: the greatest distance to the k-th nearest training image that counts as usual, in (0, 2]; None where
            there is no threshold, and then no image is called unlike.
        k: which neighbour.
        usual: the share of unseen images like the training images that it lets pass, about.
        n_fitted: training images that it was chosen on.
        images: training images whose features are kept beside the model.
        sha256: hash of the file that keeps them; empty where there is none.
        reason: why there is no threshold, where that is so.
    """

    distance: float | None = None
    k: int = 1
    usual: float | None = None
    n_fitted: int = 0
    images: int = 0
    sha256: str = ""
    reason: str | None = NOTHING_HELD_OUT


@dataclass(frozen=True)
class FittedTrust:
    """Temperature, threshold and novelty of a model. The defaults mean that nothing was fitted."""

    temperature: Temperature = Temperature()
    threshold: Threshold = Threshold()
    novelty: Novelty = Novelty()

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None) -> FittedTrust:
        """The section ``trust`` of model.json; None, as in those of older models, gives the default.

        Raises:
            TypeError: an unknown or missing part.
            ValueError: a temperature that is not positive.
        """
        if values is None:
            return cls()
        found = cls(
            Temperature(**values["temperature"]), Threshold(**values["threshold"]), Novelty(**values["novelty"])
        )
        if not found.temperature.value > 0:
            raise ValueError(f"the temperature is {found.temperature.value}, and must be positive")
        return found
