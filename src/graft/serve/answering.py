"""What a model says of sent files, each noted: the work behind ``POST /predict`` and ``POST /predict_batch``."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graft.errors import DataError
from graft.serve.answers import BatchAnswer, FileAnswer, FileRefusal, Said, said
from graft.serve.archive import Member
from graft.serve.forms import shown
from graft.serve.loaded import Loaded
from graft.serve.metrics import metrics
from graft.serve.notes import note
from graft.serve.recorder import Recorder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TOGETHER = 16  # images of one request that the network is given at once


@dataclass(frozen=True)
class Answering:
    """One request's model and where its answers are noted.

    Attributes:
        now: the model. A request keeps the one that it began with, though another may take its place meanwhile.
        recorder: writes the answers down.
    """

    now: Loaded
    recorder: Recorder

    def each(self, files: Iterable[Member], top_k: int | None) -> BatchAnswer:
        """The answer to many files: one for each, in their order. Raises DataError where the archive is refused."""
        answers: list[FileAnswer | FileRefusal] = []
        for some in _in_parts(files, _TOGETHER):
            for member, answer in zip(some, self.answers(some, top_k), strict=True):
                name = shown(member.name)
                if isinstance(answer, DataError):
                    answers.append(FileRefusal(file=name, error=answer.what, remedy=answer.remedy))
                else:
                    answers.append(FileAnswer(file=name, **answer.model_dump()))
        metrics().batch.observe(len(answers))
        return BatchAnswer(answers=answers, model=self.now.identity)

    def answers(self, files: Sequence[Member], top_k: int | None) -> list[Said | DataError]:
        """What the model says of each file, noted; or why it cannot."""
        model = self.now.model
        prepared = [self._prepared(file.data) for file in files]
        answers = model.answer([image for image in prepared if not isinstance(image, DataError)])
        unsure = model.is_unsure(answers.probabilities)
        given: list[Said | DataError] = []
        row = 0
        for file, image in zip(files, prepared, strict=True):
            if isinstance(image, DataError):
                given.append(image)
                continue
            assert isinstance(file.data, bytes), "what is no file was prepared as none"
            probabilities = answers.probabilities[row].tolist()
            novelty = None if answers.novelty is None else float(answers.novelty[row])
            answer = said(model.classes, probabilities, bool(unsure[row]), novelty, top_k)
            version = self.now.identity.version
            note(self.recorder, answer, max(probabilities), version, model.classes, file.data, image)
            given.append(answer)
            row += 1
        return given

    def _prepared(self, image: bytes | DataError) -> NDArray[np.uint8] | DataError:
        """The image as the network takes it, uint8 (size, size, 3), or why there is none."""
        if isinstance(image, DataError):
            return image
        try:
            return self.now.model.prepare(image)
        except DataError as error:
            # The decoder speaks to somebody with a folder of images; here there is nothing to take one out of.
            return DataError(error.what, remedy=(error.remedy or "").removesuffix(", or take it out") or None)


def _in_parts(files: Iterable[Member], size: int) -> Iterator[list[Member]]:
    remaining = iter(files)
    while some := list(itertools.islice(remaining, size)):
        yield some
