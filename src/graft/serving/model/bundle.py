"""A model that is ready to predict, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.inference.package import PACKAGE_FILE, read_package
from graft.inference.served_model import ServedModel
from graft.modalities.registry import modality_of
from graft.serving.capacity import Capacity
from graft.serving.model.calibration_summary import calibration_summary
from graft.serving.model.location import identity
from graft.serving.schemas import ModelIdentity
from graft.serving.settings import ServiceSettings


@dataclass(frozen=True)
class ModelBundle:
    """A loaded model. A request keeps the bundle that it started with, though another may be promoted meanwhile.

    Attributes:
        model: predicts.
        identity: part of every response.
        description: response of ``GET /model``.
    """

    model: ServedModel
    identity: ModelIdentity
    description: dict[str, Any]

    @classmethod
    def load(cls, folder: Path, capacity: Capacity, settings: ServiceSettings) -> ModelBundle:
        """Check, load and warm up the model in ``folder``. Raises WeightsError as :meth:`ServedModel.load` does."""
        # One thread for each run of the network: requests run side by side.
        model = ServedModel.load(folder, threads=1)
        who = ModelIdentity(**identity(folder, model.artifact))
        model.predict_batch([model.preprocess(modality_of(model.artifact.preprocessing).example())])
        return cls(model, who, describe(folder, model, who, capacity, settings))


def describe(
    folder: Path, model: ServedModel, who: ModelIdentity, capacity: Capacity, settings: ServiceSettings
) -> dict[str, Any]:
    """The model, for ``GET /model`` and the page."""
    artifact = model.artifact
    packaged = (folder / PACKAGE_FILE).exists()
    return {
        **who.model_dump(),
        "classes": list(artifact.classes),
        "modality": artifact.preprocessing.kind,
        "size": artifact.preprocessing.size,
        "depth": artifact.depth,
        "metrics": dict(read_package(folder).metrics) if packaged else {},
        "keeps_images": settings.keep_images is not None,
        **calibration_summary(artifact),
        "runtime": {
            "engine": model.spec.name,
            "device": model.spec.device,
            "threads": capacity.threads,
            "workers": capacity.workers,
        },
        "limits": {"body": settings.max_body},
    }
