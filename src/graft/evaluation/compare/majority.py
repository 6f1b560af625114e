"""The majority-class baseline: the model against always naming the class that is most frequent in training.

Where 96% of images are fine, a model that finds no fault is right on 96%. So the paired rule
(:mod:`graft.stats.paired`) is asked of accuracy and of balanced accuracy, the mean of the classes' recalls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from graft.metrics.formatting import counted, percent, point_interval, points
from graft.stats.paired import PairedTest, compare_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.evaluation.held_out import HeldOutSet

Standing = Literal["better", "no better", "too few images"]


@dataclass(frozen=True)
class Majority:
    """The comparison with always naming the most frequent class.

    Attributes:
        name: that class.
        share: its share of the test images, which is that answer's accuracy.
        balanced_share: that answer's balanced accuracy: one in as many as there are classes with test images.
        others: test images of other classes.
        accuracy: the model first, that answer second.
        balanced: the same with every class weighing as much, so that the difference is one of balanced accuracies.
        decidable: whether a model without a mistake would be shown to be better.
    """

    name: str
    share: float
    balanced_share: float
    others: int
    accuracy: PairedTest
    balanced: PairedTest
    decidable: bool

    @property
    def standing(self) -> Standing:
        """Whether the model is better, by accuracy or else by balanced accuracy; or whether the images cannot tell.

        They cannot where even a model without a mistake would not be shown to be better, unless this one's balanced
        accuracy does not exceed that answer's to begin with.
        """
        if "first" in (self.accuracy.better, self.balanced.better):
            return "better"
        return "no better" if self.decidable or self.balanced.difference <= 0 else "too few images"

    def in_words(self) -> str | None:
        """What has to be said wherever the model's accuracy is told; None where that is shown to be better."""
        if self.accuracy.better == "first":
            return None
        always = f"always answering {self.name!r}"
        if self.others == 0:
            return f"No better than {always}: all test images are of that class, so they cannot show more."
        told = (
            f"accuracy {points(self.accuracy.difference)} percentage points (95%: "
            f"{point_interval(self.accuracy.interval)}) over the {percent(self.share)} of that answer, balanced "
            "accuracy "
            f"(the mean of the classes' recalls) {percent(self.balanced_share + self.balanced.difference)} against "
            f"{percent(self.balanced_share)}"
        )
        if self.standing == "better":
            return f"Its accuracy is no better than that of {always}, but its balanced accuracy is: {told}."
        if self.standing == "no better":
            return f"No better than {always}: {told}."
        return (
            f"Not shown to be better than {always}, because only "
            f"{counted(self.others, 'test image is', 'test images are')} of other classes: {told}."
        )

    def to_json(self) -> dict[str, Any]:
        """As metrics.json has it, under ``majority``."""
        return {
            "class": self.name,
            "standing": self.standing,
            "accuracy": self.share,
            "difference": self.accuracy.difference,
            "difference_ci95": self.accuracy.interval.pair(),
            "balanced_accuracy": self.balanced_share,
            "balanced_difference": self.balanced.difference,
            "balanced_difference_ci95": self.balanced.interval.pair(),
            "says": self.in_words(),
        }


def against_majority(held_out: HeldOutSet, probabilities: NDArray[np.float64]) -> Majority | None:
    """Compare a model with always naming the class that is most frequent in training; None where nothing is tested.

    Where nothing is known of the training images, it is the class most frequent in the images themselves.

    Args:
        held_out: the images, and how many training images each class has.
        probabilities: of the model, (n, k).
    """
    labels, units, n_test = held_out.labels, held_out.units, held_out.n_test
    if len(labels) == 0:
        return None
    name = int((held_out.n_train if held_out.n_train.any() else n_test).argmax())
    right, always, perfect = probabilities.argmax(axis=1) == labels, labels == name, np.ones(len(labels), dtype=bool)
    classes = int((n_test > 0).sum())
    weights = len(labels) / (classes * n_test[labels])
    return Majority(
        name=held_out.classes[name],
        share=float(always.mean()),
        balanced_share=float(n_test[name] > 0) / classes,
        others=int((~always).sum()),
        accuracy=compare_pair(right, always, units),
        balanced=compare_pair(right, always, units, weights),
        decidable=compare_pair(perfect, always, units).better == "first",
    )
