"""The inference path shared by evaluation, CLI and service: preprocessing, network, calibration, novelty."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.calibration.novelty import ReferenceFeatures, read_reference
from graft.core.packed_files import StoredFile
from graft.inference.artifact import Artifact, load_artifact
from graft.tasks.registry import find_task

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from graft.models.backbone import Network


@dataclass(frozen=True)
class Predictions:
    """Predictions for n samples.

    Attributes:
        outputs: as the task postprocesses them, (n, k): calibrated probabilities of the classes, say.
        novelty: how unlike the training samples each is, (n,): distance of its features to theirs in units of the
            threshold, so that over 1 is unlike; None where the model has no reference features.
    """

    outputs: NDArray[np.float64]
    novelty: NDArray[np.float64] | None

    def take(self, indices: Sequence[int]) -> Predictions:
        """Those of some samples, in that order."""
        rows = np.asarray(indices, dtype=np.intp)
        return Predictions(self.outputs[rows], None if self.novelty is None else self.novelty[rows])


def to_predictions(
    logits: NDArray[np.floating],
    features: NDArray[np.floating] | None,
    artifact: Artifact,
    reference: ReferenceFeatures | None,
) -> Predictions:
    """Outputs of a network, whichever engine ran it, to predictions.

    Args:
        logits: (n, k).
        features: input of the head, (n, d); None where no novelty is wanted.
        artifact: of the model: its task and temperature.
        reference: features of training samples; None without novelty detection.
    """
    novelty = None if reference is None or features is None else reference.score(features)
    scaled = np.asarray(logits, dtype=np.float64) / artifact.trust.temperature.value
    return Predictions(find_task(artifact.task).postprocess(scaled), novelty)


class BasePredictor:
    """What every loaded model shares, whichever engine runs it.

    Attributes:
        artifact: what model.json says.
        reference: features of training samples for novelty detection, if it has any.
    """

    artifact: Artifact
    reference: ReferenceFeatures | None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probabilities' columns."""
        return self.artifact.classes

    def preprocess(self, sample: StoredFile | bytes) -> NDArray[Any]:
        """Load a sample from its file or its bytes, as the model's preprocessing does.

        Raises:
            DataError: it cannot be decoded.
        """
        return self.artifact.preprocessing.load(sample)

    def predict_batch(self, rows: Sequence[NDArray[Any]]) -> Predictions:
        """Predict preprocessed samples."""
        if rows:
            return self._run(np.stack(rows))
        return Predictions(np.empty((0, len(self.artifact.outputs))), None if self.reference is None else np.empty(0))

    def abstains(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Probabilities (n, classes) -> whether the highest is under the model's threshold, (n,)."""
        return np.asarray(probabilities.max(axis=1, initial=0.0) < self.artifact.trust.threshold.confidence)

    def _run(self, rows: NDArray[Any]) -> Predictions:
        """Predict loaded samples (n, ...), n > 0."""
        raise NotImplementedError


@dataclass(frozen=True)
class Predictor(BasePredictor):
    """A model run by torch in eval mode.

    Attributes:
        artifact: what model.json says.
        network: the network.
        reference: features of training samples for novelty detection, if it has any.
    """

    artifact: Artifact
    network: Network
    reference: ReferenceFeatures | None = None

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Load the artifact in ``folder``.

        Raises:
            WeightsError: a file is missing, or is not the one that model.json was written for.
        """
        artifact, network = load_artifact(folder)
        return cls(artifact, network.eval(), read_reference(folder, artifact.trust.novelty))

    def predict(self, images: Iterable[StoredFile | bytes], batch_size: int = 64) -> NDArray[np.float64]:
        """Files or bytes of samples -> outputs (n, k), in batches."""
        rows, batch = [np.empty((0, len(self.artifact.outputs)))], []
        for image in images:
            batch.append(self.preprocess(image))
            if len(batch) == batch_size:
                rows.append(self.predict_batch(batch).outputs)
                batch = []
        rows.append(self.predict_batch(batch).outputs)
        return np.concatenate(rows)

    def _run(self, rows: NDArray[Any]) -> Predictions:
        import torch

        with torch.inference_mode():
            inputs = self.artifact.preprocessing.collate(rows)
            features = None if self.reference is None else self.network.features(inputs)
            logits = self.network(inputs) if features is None else self.network.head(features)
        return to_predictions(
            _numpy(logits), None if features is None else _numpy(features), self.artifact, self.reference
        )


def _numpy(tensor: torch.Tensor) -> NDArray[np.floating]:
    return tensor.float().cpu().numpy()
