"""artifact + images -> probabilities, and how far to trust them: the one road of evaluation, commands and service."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.calibration.card import Trust
from graft.calibration.novelty import Reference, read_reference
from graft.core.packed_files import StoredFile
from graft.inference.artifact import Artifact, load_artifact

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from graft.models.backbone import Network


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


def judge(
    logits: NDArray[np.floating], features: NDArray[np.floating] | None, trust: Trust, reference: Reference | None
) -> Answers:
    """What a network gave -> what is answered, whichever engine ran it.

    Args:
        logits: (n, classes).
        features: what the head received, (n, d); None where nobody asked for novelty.
        trust: the model's temperature.
        reference: the training images' features, where there are any.
    """
    wide = np.asarray(logits, dtype=np.float64) / trust.temperature.value
    powers = np.exp(wide - wide.max(axis=1, keepdims=True, initial=-np.inf))
    novelty = None if reference is None or features is None else reference.score(features)
    return Answers(powers / powers.sum(axis=1, keepdims=True), novelty)


class Answerer:
    """What every loaded model has in common, whatever runs it: its card says how an image is prepared and judged.

    Attributes:
        artifact: its card.
        reference: the training images' features that lie beside it, where there are any.
    """

    artifact: Artifact
    reference: Reference | None

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the probabilities' columns."""
        return self.artifact.classes

    def prepare(self, image: StoredFile | bytes) -> NDArray[np.uint8]:
        """An image file or its bytes -> uint8 (size, size, 3). Raises DataError where it cannot be decoded."""
        return self.artifact.preprocessing.load(image)

    def no_answers(self) -> Answers:
        """What is said of no images."""
        return Answers(np.empty((0, len(self.classes))), None if self.reference is None else np.empty(0))

    def is_unsure(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Probabilities (n, classes) -> which answers it is not sure of, (n,): those under its threshold."""
        return np.asarray(probabilities.max(axis=1, initial=0.0) < self.artifact.trust.threshold.confidence)


@dataclass(frozen=True)
class Predictor(Answerer):
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
        """Load the artifact in ``folder`` (see :func:`graft.inference.artifact.load_artifact` for what it refuses).

        Raises:
            WeightsError: a file is missing, or is not the one that the card was written for.
        """
        artifact, network = load_artifact(folder)
        return cls(artifact, network.eval(), read_reference(folder, artifact.trust.novelty))

    def answer(self, images: Sequence[NDArray[np.uint8]]) -> Answers:
        """Prepared images -> calibrated probabilities, and how unlike the training images they are."""
        import torch

        if not images:
            return self.no_answers()
        with torch.inference_mode():
            batch = self.artifact.preprocessing.collate(images)
            features = None if self.reference is None else self.network.features(batch)
            logits = self.network(batch) if features is None else self.network.head(features)
        return judge(
            _numpy(logits), None if features is None else _numpy(features), self.artifact.trust, self.reference
        )

    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Prepared images -> calibrated probabilities (n, classes); every row sums to one."""
        return self.answer(images).probabilities

    def predict(self, images: Iterable[StoredFile | bytes], batch_size: int = 64) -> NDArray[np.float64]:
        """Image files or bytes -> probabilities (n, classes), decoded and run in batches."""
        rows, waiting = [np.empty((0, len(self.classes)))], []
        for image in images:
            waiting.append(self.prepare(image))
            if len(waiting) == batch_size:
                rows.append(self.probabilities(waiting))
                waiting = []
        rows.append(self.probabilities(waiting))
        return np.concatenate(rows)


def _numpy(tensor: torch.Tensor) -> NDArray[np.floating]:
    return tensor.float().cpu().numpy()
