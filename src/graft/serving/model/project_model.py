"""The project's model as BentoML sees it: what `bentoml build` packs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
from bentoml.exceptions import BentoMLException
from bentoml.models import BentoModel

from graft.core.errors import GraftError, WeightsError
from graft.core.workspace import Workspace
from graft.inference.package import read_package
from graft.serving import settings
from graft.serving.model.location import VARIABLE, production_model


def labels_of(root: Path) -> dict[str, str]:
    """Labels of a Bento of the project in ``root``: the model, its origin, its figures; none without a project."""
    try:
        return read_package(Workspace(root).production_model).labels
    except WeightsError:
        return {}


@attrs.frozen
class ProjectModel(BentoModel):  # type: ignore[misc]  # BentoML's class has no types
    """The project's production model: registered in the model store by ``bentoml build``, served from its folder.

    A tag in bentofile.yaml could name another project's model (``latest`` is whatever was registered last on this
    machine), and serving would need the store.

    Attributes:
        root: the project's folder.
    """

    root: Path

    @classmethod
    def in_project(cls, root: Path) -> ProjectModel:
        """The model of the project in ``root``, also where there is none yet; a Bento never asks for it."""
        try:
            tag = read_package(Workspace(root).production_model).tag
        except WeightsError:
            tag = "graft:none"
        return cls(tag, root)  # type: ignore[call-arg, arg-type]  # as above

    def to_info(self, alias: str | None = None) -> Any:
        """Called by ``bentoml build``: register the model, and describe it."""
        from graft.registry.model_store import register

        workspace = Workspace(self.root)
        try:
            require_onnx(self.root)
            # What is served is packed too: after a rollback that is not what was packaged last.
            return BentoModel(register(workspace, production_model(self.root))).to_info(alias)
        except GraftError as error:
            raise BentoMLException(error.message()) from None

    def resolve(self, base_path: Any = None) -> Path:
        """Called by ``bentoml serve`` in a project's folder: the folder itself, whether or not a model is in it."""
        return Path(settings.text(VARIABLE) or Workspace(self.root).production_model)


def require_onnx(root: Path) -> None:
    """Refuse to build a Bento that could not run its model: it brings ONNX Runtime, and no torch.

    Raises:
        WeightsError: the project's production model has no ONNX file, and bentofile.yaml names no torch.
    """
    folder = Workspace(root).production_model
    package = read_package(folder)
    bentofile = root / "bentofile.yaml"
    text = bentofile.read_text(encoding="utf-8") if bentofile.is_file() else ""
    if package.onnx_sha256 or re.search(r"^\s*-\s*[\"']?torch\s*==", text, flags=re.MULTILINE):
        return
    why = package.onnx.get("refused", "it was packaged by a graft that wrote none")
    raise WeightsError(
        f"a Bento runs its model by ONNX Runtime, and this model has no ONNX file: {why}",
        where=folder,
        remedy="run `.venv/bin/dvc repro --force package`; or serve the folder by `bentoml serve`, which takes torch; "
        "or add torch, torchvision and timm to the packages of bentofile.yaml, and src/graft/models to its `include`",
    )
