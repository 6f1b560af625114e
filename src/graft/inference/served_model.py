"""The predictor of the service and of `graft predict`: a checked model, run by the fastest engine, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.calibration.novelty import Reference, read_reference
from graft.inference.artifact import Artifact
from graft.inference.engines import Engine, Kind, choose
from graft.inference.integrity import check_agreement, check_engine
from graft.inference.predictor import BasePredictor, Predictions, to_predictions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ServedModel(BasePredictor):
    """A model run by an engine; its predictions agree with :class:`graft.inference.predictor.Predictor`.

    Attributes:
        artifact: its card.
        engine: what runs it.
        kind: which engine that is.
        reference: features of training samples for novelty detection, if it has any.
    """

    artifact: Artifact
    engine: Engine
    kind: Kind
    reference: Reference | None = None

    @classmethod
    def load(cls, folder: Path, threads: int = 1, wanted: str = "") -> ServedModel:
        """Check the model in ``folder``, load it and run it once.

        Args:
            folder: the model's.
            threads: of one run.
            wanted: an engine's name; empty for the best that can run it (see :func:`graft.inference.engines.choose`).

        Raises:
            WeightsError: a file is missing, is another one than the card says, or does not fit it.
            ConfigError: there is no such engine.
        """
        card = check_agreement(folder)
        kind = choose(folder, wanted)
        engine = kind.load(folder, card, threads)
        model = cls(card, engine, kind, read_reference(folder, card.trust.novelty))
        check_engine(folder, card, engine, model.reference)
        return model

    def _run(self, batch: NDArray[np.uint8]) -> Predictions:
        logits, features = self.engine.run(batch)
        return to_predictions(logits, features, self.artifact.trust, self.reference)
