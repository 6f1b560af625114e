"""The BentoML service: ``POST /predict`` answers for one image, by the same road that evaluation takes.

``bentoml serve`` in a project's folder serves its packaged model; a built Bento serves the model it was built
with; ``GRAFT_MODEL=<folder>`` serves that one instead. BentoML adds ``/livez /readyz /metrics``. What stands before it
all is in guard.py, and what can be set in environment.py.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml
from bentoml.exceptions import BentoMLException

from graft.errors import DataError, GraftError
from graft.packaged import PACKAGE_FILE, read_package
from graft.serve import environment
from graft.serve.answers import Answer, BatchAnswer, FileAnswer, FileRefusal, Identity, Said, said
from graft.serve.archive import Member
from graft.serve.card import reliance
from graft.serve.feedback import Correction, FeedbackUpload, correct
from graft.serve.forms import shown
from graft.serve.guard import GuardedService
from graft.serve.location import PackagedModel, check_model, identity, is_there, model_folder
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
_TOGETHER = 16  # images of one request that the network is given at once


class ImageClassifier:
    """Says which of its classes an image shows, and how sure it is of each."""

    packaged = PackagedModel(ROOT)

    def __init__(self) -> None:
        # Imported here: building a Bento and checking the model need neither torch nor its two seconds.
        import numpy as np

        from graft.determinism import make_deterministic
        from graft.predict import Predictor

        folder = model_folder(Classifier.bento, ROOT)
        make_deterministic()
        self.predictor = Predictor.load(folder)
        self.identity = Identity(**identity(folder, self.predictor.artifact))
        self.card = describe(folder, self.predictor, self.identity)
        # The first run of a network is slow; it is not ready before that is behind it.
        size = self.predictor.artifact.preprocessing.geometry.size
        self.predictor.answer([np.zeros((size, size, 3), np.uint8)])
        self.recorder = recorder(Workspace(ROOT).journal if Classifier.bento is None else None)

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
            identity(folder, check_model(folder))
        except GraftError as error:
            raise BentoMLException(error.message()) from None

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def write_the_last(self) -> None:
        """After the last answer: what was not written down yet is."""
        self.recorder.close()

    @bentoml.api(input_spec=Upload, output_spec=Answer)  # type: ignore[untyped-decorator]
    def predict(self, image: bytes | DataError, top_k: int | None) -> Answer | JSONResponse:
        """Label and probabilities of one image: the file of the multipart field `image`."""
        if isinstance(image, DataError):
            return refusal(image)
        (answer,) = self._answers([Member("", image)], top_k)
        if isinstance(answer, DataError):
            return refusal(answer)
        return Answer(**answer.model_dump(), model=self.identity)

    @bentoml.api(input_spec=BatchUpload, output_spec=BatchAnswer)  # type: ignore[untyped-decorator]
    def predict_batch(self, image: Files | DataError, archive: None, top_k: None) -> BatchAnswer | JSONResponse:
        """The same for many images, the files of fields `image`, or for those of one zip, the file of `archive`."""
        try:
            if isinstance(image, DataError):
                raise image
            files, k = image.each()
            answers: list[FileAnswer | FileRefusal] = []
            for some in _in_parts(files, _TOGETHER):
                for member, answer in zip(some, self._answers(some, k), strict=True):
                    name = shown(member.name)
                    if isinstance(answer, DataError):
                        answers.append(FileRefusal(file=name, error=answer.what, remedy=answer.remedy))
                    else:
                        answers.append(FileAnswer(file=name, **answer.model_dump()))
        except DataError as error:
            return refusal(error)
        metrics().batch.observe(len(answers))
        return BatchAnswer(answers=answers, model=self.identity)

    @bentoml.api(input_spec=FeedbackUpload, output_spec=Correction)  # type: ignore[untyped-decorator]
    async def feedback(self, id: str | DataError, label: str) -> Correction | JSONResponse:
        """The right label of an answer, for those who watch how good the model still is."""
        return await correct(self.recorder, self.predictor.classes, id, label)

    def _answers(self, files: list[Member], top_k: int | None) -> list[Said | DataError]:
        """What the model says of each file, noted; or why it cannot."""
        prepared = [self._prepared(file.data) for file in files]
        images = [image for image in prepared if not isinstance(image, DataError)]
        answers = self.predictor.answer(images)
        unsure = self.predictor.is_unsure(answers.probabilities)
        given: list[Said | DataError] = []
        row = 0
        for file, image in zip(files, prepared, strict=True):
            if isinstance(image, DataError) or isinstance(file.data, DataError):
                given.append(image)
                continue
            probabilities = answers.probabilities[row].tolist()
            novelty = None if answers.novelty is None else float(answers.novelty[row])
            answer = said(self.predictor.classes, probabilities, bool(unsure[row]), novelty, top_k)
            who = self.identity.version
            note(self.recorder, answer, max(probabilities), who, self.predictor.classes, file.data, image)
            given.append(answer)
            row += 1
        return given

    def _prepared(self, image: bytes | DataError) -> Any:
        """The image as the network takes it, uint8 (size, size, 3), or why there is none."""
        if isinstance(image, DataError):
            return image
        try:
            return self.predictor.prepare(image)
        except DataError as error:
            # The decoder speaks to somebody with a folder of images; here there is nothing to take one out of.
            return DataError(error.what, remedy=(error.remedy or "").removesuffix(", or take it out") or None)


def _in_parts(files: Iterable[Member], size: int) -> Iterator[list[Member]]:
    remaining = iter(files)
    while some := list(itertools.islice(remaining, size)):
        yield some


def describe(folder: Path, predictor: Any, who: Identity) -> dict[str, Any]:
    """The model's card, for ``GET /model`` and the page."""
    artifact = predictor.artifact
    packaged = (folder / PACKAGE_FILE).exists()
    return {
        **who.model_dump(),
        "classes": list(artifact.classes),
        "size": artifact.preprocessing.geometry.size,
        "depth": artifact.depth,
        "metrics": dict(read_package(folder).metrics) if packaged else {},
        "keeps_images": bool(environment.text("GRAFT_KEEP_IMAGES")),
        **reliance(artifact),
    }


keep_metrics_apart()
# Not named `graft`: given `graft:<version>` BentoML first tries to import a module of that name, and where graft is
# installed would then run that instead of the Bento's own code. A class to Python, to BentoML it is a Service.
Classifier: Any = bentoml.service(
    name="graft_classifier",
    service_class=GuardedService,
    http={"host": HOST, "port": PORT},
    # Ours takes its place.
    logging={"access": {"enabled": False}},
)(ImageClassifier)
Classifier.mount_asgi_app(pages, path="/", name="pages")
