"""The predictor of the service and of `graft predict`: a checked model, run by an inference engine, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.calibration.novelty import ReferenceFeatures, read_reference
from graft.inference.artifact import Artifact
from graft.inference.engines import ENGINES, Engine, EngineSpec, choose_engine
from graft.inference.integrity import check_engine, check_integrity
from graft.inference.predictor import BasePredictor, Predictions, to_predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ServedModel(BasePredictor):
    """A model run by an engine; its predictions agree with :class:`graft.inference.predictor.Predictor`.

    Attributes:
        artifact: what model.json says.
        engine: runs the network.
        spec: the engine's row of the table.
        reference: features of training samples for novelty detection, if it has any.
    """

    artifact: Artifact
    engine: Engine
    spec: EngineSpec
    reference: ReferenceFeatures | None = None

    @classmethod
    def load(cls, folder: Path, threads: int = 1, engines: Sequence[EngineSpec] = ENGINES) -> ServedModel:
        """Check the model in ``folder``, load it, and warm the engine up.

        Args:
            folder: the model's.
            threads: intra-op threads of one run.
            engines: the first that can run the model does.

        Raises:
            WeightsError: a file is missing or does not belong to model.json, or no engine can run the model.
        """
        artifact = check_integrity(folder)
        spec = choose_engine(folder, engines)
        engine = spec.load(folder, artifact, threads)
        model = cls(artifact, engine, spec, read_reference(folder, artifact.trust.novelty))
        check_engine(folder, artifact, engine, model.reference)
        return model

    def _run(self, rows: NDArray[Any]) -> Predictions:
        logits, features = self.engine.run(rows)
        return to_predictions(logits, features, self.artifact, self.reference)
