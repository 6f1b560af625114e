"""What is noted of every answer: counters for Prometheus, a row for the journal, and the image where that is wanted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graft.errors import DataError
from graft.images.decode import upright_size
from graft.images.facts import Tones
from graft.journal import Answered, Journal
from graft.serve import environment
from graft.serve.answers import Said
from graft.serve.kept import KeptImages
from graft.serve.metrics import metrics
from graft.serve.recorder import Recorder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def recorder(project_journal: Path | None) -> Recorder:
    """The recorder that the environment asks for, begun.

    Args:
        project_journal: where a project keeps its journal; None where a Bento is served.

    Raises:
        ConfigError: a variable cannot be used.
    """
    named = environment.text("GRAFT_JOURNAL")
    path = None if named.lower() == "off" else Path(named) if named else project_journal
    journal = None if path is None else Journal(path, int(environment.number("GRAFT_JOURNAL_LIMIT")))
    folder = environment.text("GRAFT_KEEP_IMAGES")
    images = KeptImages(Path(folder), environment.mebibytes("GRAFT_KEEP_IMAGES_LIMIT")) if folder else None
    made = Recorder(journal, images, lose=lambda count: metrics().lost.inc(count))
    made.start()
    return made


def note(
    recorder: Recorder,
    said: Said,
    confidence: float,
    model: str,
    classes: Sequence[str],
    sent: bytes,
    prepared: NDArray[np.uint8],
) -> None:
    """Note one answer. Nothing that goes wrong in it is the sender's affair.

    Args:
        recorder: writes it down.
        said: the answer.
        confidence: the label's probability.
        model: version of the model.
        classes: all that it knows.
        sent: the image as it was sent.
        prepared: the image as the model saw it, uint8 (size, size, 3).
    """
    metrics().answered(said.label, said.unsure, said.novelty, classes)
    if not recorder.is_on:
        return
    try:
        width, height = upright_size(sent)
    except DataError:
        return  # it was decoded a moment ago
    facts = (said.label, confidence, said.unsure, said.novelty, width, height, *tones(prepared))
    answered = Answered(said.id, time.time(), model, *facts)
    recorder.add(answered, sent)


def tones(prepared: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean (0 to 1) and standard deviation (0 to 0.5) of the luminance of uint8 (height, width, 3)."""
    found = Tones.of_pixels(prepared)
    return found.brightness, found.contrast
