"""The BentoML service: ``POST /predict`` answers for one image, by the same road that evaluation takes.

``bentoml serve`` in a project's folder serves its packaged model; a built Bento serves the model it was built
with; ``GRAFT_MODEL=<folder>`` serves that one instead. BentoML adds ``/livez /readyz /metrics``. What stands before it
all is in guard.py, and what can be set in environment.py.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml
from bentoml.exceptions import BentoMLException

from graft.errors import DataError, GraftError
from graft.runtime.served import ServedModel
from graft.serve import environment
from graft.serve.answers import Answer, BatchAnswer, FileAnswer, FileRefusal, Said, said
from graft.serve.archive import Member
from graft.serve.capacity import Capacity
from graft.serve.feedback import Correction, FeedbackUpload, correct
from graft.serve.forms import shown
from graft.serve.guard import GuardedService
from graft.serve.live import LiveModel
from graft.serve.loaded import Loaded
from graft.serve.location import VARIABLE, PackagedModel, check_model, is_there, model_folder
from graft.serve.metrics import metrics
from graft.serve.notes import note, recorder
from graft.serve.page import pages
from graft.serve.refusal import refusal
from graft.serve.startup import (
    given_to_the_command,
    keep_metrics_apart,
    look_at_the_environment,
    look_at_the_port,
    wait_for_the_model,
)
from graft.serve.upload import BatchUpload, Files, Upload
from graft.serve.watch import set_up_logs
from graft.workspace import Workspace

if TYPE_CHECKING:
    from starlette.responses import JSONResponse

# BentoML imports this file with the project's folder, or the Bento's copy of it, as the working folder.
ROOT = Path.cwd()
# Only this machine can ask, unless one says `--host 0.0.0.0`; in a container the container is the wall.
HOST = "0.0.0.0" if os.environ.get("BENTOML_CONTAINERIZED") == "true" else "127.0.0.1"
PORT = 3000
CAPACITY = Capacity.of_this_machine()
_TOGETHER = 16  # images of one request that the network is given at once


class ImageClassifier:
    """Says which of its classes an image shows, and how sure it is of each."""

    packaged = PackagedModel(ROOT)

    def __init__(self) -> None:
        self.live = LiveModel(partial(model_folder, Classifier.bento, ROOT), partial(Loaded.load, capacity=CAPACITY))
        if Classifier.bento is None or environment.text(VARIABLE):
            # A Bento's own model never changes.
            self.live.watch()
        self.recorder = recorder(Workspace(ROOT).journal if Classifier.bento is None else None)

    @property
    def card(self) -> dict[str, Any]:
        """What ``GET /model`` says of the model that answers now."""
        return self.live.current.card

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Before any worker starts: a model that cannot be served ends the command with one message."""
        try:
            set_up_logs(environment.one_of("GRAFT_LOG", "json", "text"))
            host, port = given_to_the_command(HOST, PORT)
            look_at_the_environment(host)
            look_at_the_port(host, port)
            wait_for_the_model(lambda: is_there(Classifier.bento, ROOT), host, port)
            folder = model_folder(Classifier.bento, ROOT)
            check_model(folder, CAPACITY.engine)
        except GraftError as error:
            raise BentoMLException(error.message()) from None

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def write_the_last(self) -> None:
        """After the last answer: what was not written down yet is, and no other model is looked for."""
        self.live.stop()
        self.recorder.close()

    @bentoml.api(input_spec=Upload, output_spec=Answer)  # type: ignore[untyped-decorator]
    def predict(self, image: bytes | DataError, top_k: int | None) -> Answer | JSONResponse:
        """Label and probabilities of one image: the file of the multipart field `image`."""
        if isinstance(image, DataError):
            return refusal(image)
        now = self.live.current  # once: another model may take its place in the middle of this request
        (answer,) = self._answers(now, [Member("", image)], top_k)
        if isinstance(answer, DataError):
            return refusal(answer)
        return Answer(**answer.model_dump(), model=now.identity)

    @bentoml.api(input_spec=BatchUpload, output_spec=BatchAnswer)  # type: ignore[untyped-decorator]
    def predict_batch(self, image: Files | DataError, archive: None, top_k: None) -> BatchAnswer | JSONResponse:
        """The same for many images, the files of fields `image`, or for those of one zip, the file of `archive`."""
        now = self.live.current
        try:
            if isinstance(image, DataError):
                raise image
            files, k = image.each()
            answers: list[FileAnswer | FileRefusal] = []
            for some in _in_parts(files, _TOGETHER):
                for member, answer in zip(some, self._answers(now, some, k), strict=True):
                    name = shown(member.name)
                    if isinstance(answer, DataError):
                        answers.append(FileRefusal(file=name, error=answer.what, remedy=answer.remedy))
                    else:
                        answers.append(FileAnswer(file=name, **answer.model_dump()))
        except DataError as error:
            return refusal(error)
        metrics().batch.observe(len(answers))
        return BatchAnswer(answers=answers, model=now.identity)

    @bentoml.api(input_spec=FeedbackUpload, output_spec=Correction)  # type: ignore[untyped-decorator]
    async def feedback(self, id: str | DataError, label: str) -> Correction | JSONResponse:
        """The right label of an answer, for those who watch how good the model still is."""
        return await correct(self.recorder, self.live.current.model.classes, id, label)

    def _answers(self, now: Loaded, files: list[Member], top_k: int | None) -> list[Said | DataError]:
        """What the model says of each file, noted; or why it cannot."""
        model = now.model
        prepared = [_prepared(model, file.data) for file in files]
        images = [image for image in prepared if not isinstance(image, DataError)]
        answers = model.answer(images)
        unsure = model.is_unsure(answers.probabilities)
        given: list[Said | DataError] = []
        row = 0
        for file, image in zip(files, prepared, strict=True):
            if isinstance(image, DataError) or isinstance(file.data, DataError):
                given.append(image)
                continue
            probabilities = answers.probabilities[row].tolist()
            novelty = None if answers.novelty is None else float(answers.novelty[row])
            answer = said(model.classes, probabilities, bool(unsure[row]), novelty, top_k)
            who = now.identity.version
            note(self.recorder, answer, max(probabilities), who, model.classes, file.data, image)
            given.append(answer)
            row += 1
        return given


def _prepared(model: ServedModel, image: bytes | DataError) -> Any:
    """The image as the network takes it, uint8 (size, size, 3), or why there is none."""
    if isinstance(image, DataError):
        return image
    try:
        return model.prepare(image)
    except DataError as error:
        # The decoder speaks to somebody with a folder of images; here there is nothing to take one out of.
        return DataError(error.what, remedy=(error.remedy or "").removesuffix(", or take it out") or None)


def _in_parts(files: Iterable[Member], size: int) -> Iterator[list[Member]]:
    remaining = iter(files)
    while some := list(itertools.islice(remaining, size)):
        yield some


keep_metrics_apart()
# Not named `graft`: given `graft:<version>` BentoML first tries to import a module of that name, and where graft is
# installed would then run that instead of the Bento's own code. A class to Python, to BentoML it is a Service.
Classifier: Any = bentoml.service(
    name="graft_classifier",
    service_class=GuardedService,
    http={"host": HOST, "port": PORT},
    workers=CAPACITY.workers,
    threads=CAPACITY.threads,
    # Ours takes its place.
    logging={"access": {"enabled": False}},
)(ImageClassifier)
Classifier.mount_asgi_app(pages, path="/", name="pages")
