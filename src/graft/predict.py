"""artifact + images -> probabilities: the one road that evaluation, the command line and the service take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from graft.artifact import Artifact, load_artifact

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.zoo.network import Network


@dataclass(frozen=True)
class Predictor:
    """A loaded model in eval mode, with the preprocessing it was trained with."""

    artifact: Artifact
    network: Network

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Load the artifact in ``folder`` (see :func:`graft.artifact.load_artifact` for what it refuses)."""
        artifact, network = load_artifact(folder)
        return cls(artifact, network.eval())

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the probabilities' columns."""
        return self.artifact.classes

    def prepare(self, image: Path | bytes) -> NDArray[np.uint8]:
        """An image file or its bytes -> uint8 (size, size, 3). Raises DataError where it cannot be decoded."""
        return self.artifact.preprocessing.geometry.load(image)

    @torch.inference_mode()
    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Prepared images -> probabilities (n, classes); every row sums to one."""
        if not images:
            return np.empty((0, len(self.classes)))
        batch = torch.from_numpy(np.stack(images))
        logits = self.network(self.artifact.preprocessing.normalise(batch))
        return torch.softmax(logits.double(), dim=1).numpy()

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
