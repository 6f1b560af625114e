"""The BentoML service: ``POST /predict`` answers for one image, by the same road that evaluation takes.

``bentoml serve`` in a project's folder serves its model in use; a built Bento serves the model it was built
with; ``GRAFT_MODEL=<folder>`` serves that one instead. BentoML adds ``/livez /readyz /metrics``. What stands before it
all is in guard.py, and what can be set in environment.py.
"""

from __future__ import annotations

import gc
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml
from bentoml.exceptions import BentoMLException

from graft.errors import DataError, GraftError
from graft.serve import environment
from graft.serve.answering import Answering
from graft.serve.answers import Answer, BatchAnswer
from graft.serve.archive import Member
from graft.serve.capacity import Capacity
from graft.serve.feedback import Correction, FeedbackUpload, correct
from graft.serve.guard import GuardedService
from graft.serve.leaving import shut_the_port_first
from graft.serve.live import LiveModel
from graft.serve.loaded import Loaded
from graft.serve.location import VARIABLE, PackagedModel, check_model, is_there, labels_of, model_folder
from graft.serve.notes import recorder
from graft.serve.page import pages
from graft.serve.readme import readme_of
from graft.serve.refusal import refusal
from graft.serve.startup import (
    address_to_bind,
    keep_metrics_apart,
    look_at_the_environment,
    look_at_the_port,
    wait_for_the_model,
)
from graft.serve.upload import BatchUpload, Files, Upload
from graft.serve.watch import HEADER, set_up_logs
from graft.workspace import Workspace

if TYPE_CHECKING:
    from starlette.responses import JSONResponse

# BentoML imports this file with the project's folder, or the Bento's copy of it, as the working folder.
ROOT = Path.cwd()
# Only this machine can ask, unless one says `--host 0.0.0.0`; in a container the container is the wall.
HOST = "0.0.0.0" if os.environ.get("BENTOML_CONTAINERIZED") == "true" else "127.0.0.1"
PORT = 3000
try:
    CAPACITY = Capacity.of_this_machine()
except GraftError as error:  # this file is read before `check` could say it
    raise BentoMLException(error.message()) from None


class ImageClassifier:
    """Says which of its classes an image shows, and how sure it is of each."""

    packaged = PackagedModel(ROOT)

    def __init__(self) -> None:
        self.live = LiveModel(partial(model_folder, Classifier.bento, ROOT), partial(Loaded.load, capacity=CAPACITY))
        if Classifier.bento is None or environment.text(VARIABLE):
            # A Bento's own model never changes.
            self.live.watch()
        self.recorder = recorder(Workspace(ROOT).journal if Classifier.bento is None else None)
        # All that is there now stays: to look through it for garbage stopped every request for 0.07 to 0.09 s.
        gc.collect()
        gc.freeze()

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
            host, port = address_to_bind()
            look_at_the_environment(host)
            look_at_the_port(host, port)
            wait_for_the_model(lambda: is_there(Classifier.bento, ROOT), host, port)
            check_model(model_folder(Classifier.bento, ROOT), CAPACITY.engine)
            shut_the_port_first()
        except GraftError as error:
            raise BentoMLException(error.message()) from None

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def end(self) -> None:
        """After the last answer: look for no other model, and write down what was not written yet."""
        self.live.stop()
        self.recorder.close()

    @bentoml.api(input_spec=Upload, output_spec=Answer)  # type: ignore[untyped-decorator]
    def predict(self, image: bytes | DataError, top_k: int | None) -> Answer | JSONResponse:
        """Label and probabilities of one image: the file of the multipart field `image`."""
        if isinstance(image, DataError):
            return refusal(image)
        answering = self._answering()
        (answer,) = answering.answers([Member("", image)], top_k)
        if isinstance(answer, DataError):
            return refusal(answer)
        return Answer(**answer.model_dump(), model=answering.now.identity)

    @bentoml.api(input_spec=BatchUpload, output_spec=BatchAnswer)  # type: ignore[untyped-decorator]
    def predict_batch(self, image: Files | DataError, archive: None, top_k: None) -> BatchAnswer | JSONResponse:
        """The same for many images, the files of fields `image`, or for those of one zip, the file of `archive`."""
        try:
            if isinstance(image, DataError):
                raise image
            return self._answering().each(*image.each())
        except DataError as error:
            return refusal(error)

    @bentoml.api(input_spec=FeedbackUpload, output_spec=Correction)  # type: ignore[untyped-decorator]
    async def feedback(self, id: str | DataError, label: str) -> Correction | JSONResponse:
        """The right label of an answer, for those who watch how good the model still is."""
        return await correct(self.recorder, self.live.current.model.classes, id, label)

    def _answering(self) -> Answering:
        return Answering(self.live.current, self.recorder)


keep_metrics_apart()
# Not named `graft`: given `graft:<version>` BentoML first tries to import a module of that name, and where graft is
# installed would then run that instead of the Bento's own code. A class to Python, to BentoML it is a Service.
Classifier: Any = bentoml.service(
    name="graft_classifier",
    service_class=GuardedService,
    # Cross-origin requests stay off; who switches them on names origins, and the rest is known.
    http={
        "host": HOST,
        "port": PORT,
        "cors": {
            "access_control_allow_methods": ["GET", "POST"],
            "access_control_allow_headers": ["Authorization", "X-API-Key", HEADER],
            "access_control_expose_headers": [HEADER, "Retry-After"],
        },
    },
    # Ours takes its place.
    logging={"access": {"enabled": False}},
    workers=CAPACITY.workers,
    threads=CAPACITY.threads,
    labels=labels_of(ROOT),
    # What `bentoml build` writes into a Bento as its README.
    description=readme_of(ROOT),
)(ImageClassifier)
Classifier.mount_asgi_app(pages, path="/", name="pages")
