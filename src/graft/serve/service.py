"""The BentoML service: ``POST /predict`` answers for one image, by the same road that evaluation takes.

``bentoml serve`` in a project's folder serves its packaged model; a built Bento serves the model it was built
with; ``GRAFT_MODEL=<folder>`` serves that one instead. BentoML adds ``/livez /readyz /metrics``.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml
from bentoml.exceptions import BentoMLException

from graft.errors import DataError, GraftError
from graft.serve.capacity import Capacity
from graft.serve.limits import BodyLimit, refusal
from graft.serve.live import LiveModel
from graft.serve.loaded import Loaded
from graft.serve.location import VARIABLE, PackagedModel, check_model, labels_of, model_folder
from graft.serve.page import pages
from graft.serve.upload import Answer, Upload

if TYPE_CHECKING:
    from starlette.responses import JSONResponse

# BentoML imports this file with the project's folder, or the Bento's copy of it, as the working folder.
ROOT = Path.cwd()
# Only this machine can ask, unless one says `--host 0.0.0.0`; in a container the container is the wall.
HOST = "0.0.0.0" if os.environ.get("BENTOML_CONTAINERIZED") == "true" else "127.0.0.1"
CAPACITY = Capacity.of_this_machine()


class ImageClassifier:
    """Says which of its classes an image shows, and how sure it is of each."""

    packaged = PackagedModel(ROOT)

    def __init__(self) -> None:
        self.live = LiveModel(partial(model_folder, Classifier.bento, ROOT), partial(Loaded.load, capacity=CAPACITY))
        if Classifier.bento is None or os.environ.get(VARIABLE):
            # A Bento's own model never changes.
            self.live.watch()

    @property
    def card(self) -> dict[str, Any]:
        """What ``GET /model`` says of the model that answers now."""
        return self.live.current.card

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop_watching(self) -> None:
        """Look for no other model while the last requests are answered."""
        self.live.stop()

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Before any worker starts: a model that cannot be served ends the command with one message."""
        if os.environ.get(VARIABLE):
            # Workers have another working folder than the one where this was typed.
            os.environ[VARIABLE] = str(Path(os.environ[VARIABLE]).absolute())
        try:
            folder = model_folder(Classifier.bento, ROOT)
            check_model(folder, CAPACITY.engine)
        except GraftError as error:
            raise BentoMLException(error.message()) from None

    @bentoml.api(input_spec=Upload, output_spec=Answer)  # type: ignore[untyped-decorator]
    def predict(self, image: Path | bytes | DataError) -> Answer | JSONResponse:
        """Label and probabilities of one image: the file of the multipart field `image`, at most 20 MiB."""
        if isinstance(image, DataError):
            return refusal(image)
        now = self.live.current  # once: another model may take its place in the middle of this request
        try:
            prepared = now.model.prepare(image)
        except DataError as error:
            # The decoder speaks to somebody with a folder of images; here there is nothing to take one out of.
            return refusal(DataError(error.what, remedy=(error.remedy or "").removesuffix(", or take it out") or None))
        said = now.model.answer([prepared])
        ranked = sorted(zip(now.model.classes, said.probabilities[0].tolist(), strict=True), key=lambda p: -p[1])
        return Answer(
            label=ranked[0][0],
            probabilities=dict(ranked),
            unsure=bool(now.model.is_unsure(said.probabilities)[0]),
            novelty=None if said.novelty is None else float(said.novelty[0]),
            model=now.identity,
        )


# Not named `graft`: given `graft:<version>` BentoML first tries to import a module of that name, and where graft is
# installed would then run that instead of the Bento's own code. A class to Python, to BentoML it is a Service.
Classifier: Any = bentoml.service(
    name="graft_classifier",
    http={"host": HOST},
    traffic={"timeout": 60},
    workers=CAPACITY.workers,
    threads=CAPACITY.threads,
    labels=labels_of(ROOT),
)(ImageClassifier)
Classifier.add_asgi_middleware(BodyLimit)
Classifier.mount_asgi_app(pages, path="/", name="pages")
