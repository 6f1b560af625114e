"""A model that is ready to answer, with all that is said of it: what a request takes hold of once, and then keeps."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from graft.packaged import PACKAGE_FILE, read_package
from graft.runtime.batching import BatchingEngine
from graft.runtime.served import ServedModel
from graft.serve import environment
from graft.serve.answers import Identity
from graft.serve.capacity import Capacity
from graft.serve.card import reliance
from graft.serve.location import identity


@dataclass(frozen=True)
class Loaded:
    """One model of one folder.

    Attributes:
        model: what answers.
        identity: what every answer says of it.
        card: what ``GET /model`` says of it.
    """

    model: ServedModel
    identity: Identity
    card: dict[str, Any]

    @classmethod
    def load(cls, folder: Path, capacity: Capacity) -> Loaded:
        """Check, load and warm up the model in ``folder``. Raises WeightsError as :meth:`ServedModel.load` does."""
        model = ServedModel.load(folder, capacity.run_threads, capacity.engine)
        if capacity.batch > 1:
            model = model.run_by(BatchingEngine(model.engine, capacity.batch))
        who = Identity(**identity(folder, model.artifact))
        # The first image costs more than others: Pillow imports its decoders when it first needs one.
        model.answer([model.prepare(_jpeg())])
        return cls(model, who, describe(folder, model, who, capacity))


def describe(folder: Path, model: ServedModel, who: Identity, capacity: Capacity) -> dict[str, Any]:
    """The model's card, for ``GET /model`` and the page."""
    artifact = model.artifact
    packaged = (folder / PACKAGE_FILE).exists()
    return {
        **who.model_dump(),
        "classes": list(artifact.classes),
        "size": artifact.preprocessing.geometry.size,
        "depth": artifact.depth,
        "metrics": dict(read_package(folder).metrics) if packaged else {},
        "keeps_images": bool(environment.text("GRAFT_KEEP_IMAGES")),
        **reliance(artifact),
        "runtime": {
            "engine": model.kind.name,
            "device": model.kind.device,
            "threads": capacity.threads,
            "workers": capacity.workers,
            "batch": capacity.batch,
        },
    }


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "JPEG")
    return buffer.getvalue()
