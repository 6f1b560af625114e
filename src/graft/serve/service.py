"""The BentoML service: ``POST /predict`` answers for one image, by the same road that evaluation takes.

``bentoml serve`` in a project's folder serves its packaged model; a built Bento serves the model it was built
with; ``GRAFT_MODEL=<folder>`` serves that one instead. BentoML adds ``/livez /readyz /metrics``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml
from bentoml.exceptions import BentoMLException

from graft.errors import DataError, GraftError
from graft.packaged import PACKAGE_FILE, read_package
from graft.serve.card import reliance
from graft.serve.limits import BodyLimit, refusal
from graft.serve.location import VARIABLE, PackagedModel, check_model, identity, model_folder
from graft.serve.page import pages
from graft.serve.upload import Answer, Identity, Upload

if TYPE_CHECKING:
    from starlette.responses import JSONResponse

# BentoML imports this file with the project's folder, or the Bento's copy of it, as the working folder.
ROOT = Path.cwd()
# Only this machine can ask, unless one says `--host 0.0.0.0`; in a container the container is the wall.
HOST = "0.0.0.0" if os.environ.get("BENTOML_CONTAINERIZED") == "true" else "127.0.0.1"


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

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Before any worker starts: a model that cannot be served ends the command with one message."""
        if os.environ.get(VARIABLE):
            # Workers have another working folder than the one where this was typed.
            os.environ[VARIABLE] = str(Path(os.environ[VARIABLE]).absolute())
        try:
            folder = model_folder(Classifier.bento, ROOT)
            identity(folder, check_model(folder))
        except GraftError as error:
            raise BentoMLException(error.message()) from None

    @bentoml.api(input_spec=Upload, output_spec=Answer)  # type: ignore[untyped-decorator]
    def predict(self, image: Path | bytes | DataError) -> Answer | JSONResponse:
        """Label and probabilities of one image: the file of the multipart field `image`, at most 20 MiB."""
        if isinstance(image, DataError):
            return refusal(image)
        try:
            prepared = self.predictor.prepare(image)
        except DataError as error:
            # The decoder speaks to somebody with a folder of images; here there is nothing to take one out of.
            return refusal(DataError(error.what, remedy=(error.remedy or "").removesuffix(", or take it out") or None))
        said = self.predictor.answer([prepared])
        ranked = sorted(zip(self.predictor.classes, said.probabilities[0].tolist(), strict=True), key=lambda p: -p[1])
        return Answer(
            label=ranked[0][0],
            probabilities=dict(ranked),
            unsure=bool(self.predictor.is_unsure(said.probabilities)[0]),
            novelty=None if said.novelty is None else float(said.novelty[0]),
            model=self.identity,
        )


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
        **reliance(artifact),
    }


# Not named `graft`: given `graft:<version>` BentoML first tries to import a module of that name, and where graft is
# installed would then run that instead of the Bento's own code. A class to Python, to BentoML it is a Service.
Classifier: Any = bentoml.service(name="graft_classifier", http={"host": HOST}, traffic={"timeout": 60})(
    ImageClassifier
)
Classifier.add_asgi_middleware(BodyLimit)
Classifier.mount_asgi_app(pages, path="/", name="pages")
