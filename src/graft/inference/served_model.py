"""The model as the service has it: card, engine, reference features; from prepared images to answers without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.calibration.novelty import Reference, read_reference
from graft.inference.artifact import Artifact
from graft.inference.engines import Engine, Kind, choose
from graft.inference.integrity import check_agreement, check_engine
from graft.inference.predictor import Answerer, Answers, judge

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ServedModel(Answerer):
    """A loaded model that answers as :class:`graft.inference.predictor.Predictor` does, by the engine that was chosen.

    Attributes:
        artifact: its card.
        engine: what runs it.
        kind: which engine that is.
        reference: the training images' features that lie beside it, where there are any.
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

    def answer(self, images: Sequence[NDArray[np.uint8]]) -> Answers:
        """Prepared images -> calibrated probabilities, and how unlike the training images they are."""
        if not images:
            return self.no_answers()
        logits, features = self.engine.run(np.stack(images))
        return judge(logits, features, self.artifact.trust, self.reference)
