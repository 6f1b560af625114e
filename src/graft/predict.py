"""artifact + images -> probabilities, and how far to trust them: the one road of evaluation, commands and service."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from graft.artifact import Artifact, load_artifact
from graft.trust.novelty import Reference, read_reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.zoo.network import Network


@dataclass(frozen=True)
class Answers:
    """What a model says of n images.

    Attributes:
        probabilities: calibrated, (n, classes); every row sums to one.
        novelty: how unlike the training images each is, (n,): its features' distance to theirs in units of the
            threshold, so that over 1 is unlike; None where the model keeps no features to compare with.
    """

    probabilities: NDArray[np.float64]
    novelty: NDArray[np.float64] | None

    def taken(self, places: Sequence[int]) -> Answers:
        """Those of some images, in that order."""
        rows = np.asarray(places, dtype=np.intp)
        return Answers(self.probabilities[rows], None if self.novelty is None else self.novelty[rows])


@dataclass(frozen=True)
class Predictor:
    """A loaded model in eval mode, with the preprocessing it was trained with.

    Attributes:
        artifact: its card.
        network: its weights.
        reference: the training images' features that lie beside it, where there are any.
    """

    artifact: Artifact
    network: Network
    reference: Reference | None = None

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Load the artifact in ``folder`` (see :func:`graft.artifact.load_artifact` for what it refuses).

        Raises:
            WeightsError: a file is missing, or is not the one that the card was written for.
        """
        artifact, network = load_artifact(folder)
        return cls(artifact, network.eval(), read_reference(folder, artifact.trust.novelty))

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the probabilities' columns."""
        return self.artifact.classes

    def prepare(self, image: Path | bytes) -> NDArray[np.uint8]:
        """An image file or its bytes -> uint8 (size, size, 3). Raises DataError where it cannot be decoded."""
        return self.artifact.preprocessing.geometry.load(image)

    @torch.inference_mode()
    def answer(self, images: Sequence[NDArray[np.uint8]]) -> Answers:
        """Prepared images -> calibrated probabilities, and how unlike the training images they are."""
        if not images:
            return Answers(np.empty((0, len(self.classes))), None if self.reference is None else np.empty(0))
        batch = self.artifact.preprocessing.normalise(torch.from_numpy(np.stack(images)))
        if self.reference is None:
            return Answers(self._softmax(self.network(batch)), None)
        features = self.network.features(batch)
        return Answers(self._softmax(self.network.head(features)), self.reference.score(features.float().numpy()))

    def _softmax(self, logits: torch.Tensor) -> NDArray[np.float64]:
        return torch.softmax(logits.double() / self.artifact.trust.temperature.value, dim=1).numpy()

    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Prepared images -> calibrated probabilities (n, classes); every row sums to one."""
        return self.answer(images).probabilities

    def is_unsure(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Probabilities (n, classes) -> which answers it is not sure of, (n,): those under its threshold."""
        return np.asarray(probabilities.max(axis=1, initial=0.0) < self.artifact.trust.threshold.confidence)

    def predict(self, images: Iterable[Path | bytes], batch_size: int = 64) -> NDArray[np.float64]:
        """Image files or bytes -> probabilities (n, classes), decoded and run in batches."""
        rows, waiting = [np.empty((0, len(self.classes)))], []
        for image in images:
            waiting.append(self.prepare(image))
            if len(waiting) == batch_size:
                rows.append(self.probabilities(waiting))
                waiting = []
        rows.append(self.probabilities(waiting))
        return np.concatenate(rows)
