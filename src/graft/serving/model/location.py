"""Which model is served: a folder that was named, else the Bento's own model, else the project's model in use."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from bentoml.exceptions import BentoMLException
from bentoml.models import BentoModel, get

from graft.core.errors import GraftError, WeightsError
from graft.core.workspace import Workspace
from graft.inference.artifact import CARD_FILE, WEIGHTS_FILE, Artifact
from graft.inference.engines import choose
from graft.inference.integrity import check_agreement
from graft.inference.packaged import name_of, read_package, version_of
from graft.inference.served_model import ServedModel
from graft.serving import settings

VARIABLE = "GRAFT_MODEL"


def model_folder(bento: Any, root: Path) -> Path:
    """The folder of the model to serve; whether a model is in it is for the caller to see.

    Args:
        bento: the Bento that is being served, or None when it is a project's folder.
        root: the project's folder.

    Raises:
        WeightsError: the named folder holds no model, or the Bento's model is not in the store.
    """
    named = settings.text(VARIABLE)
    if named:
        if not Path(named, CARD_FILE).is_file():
            raise WeightsError(
                f"{VARIABLE} names a folder without a model",
                where=Path(named, CARD_FILE),
                remedy=f"unset {VARIABLE}, or name a folder that holds {CARD_FILE} and {WEIGHTS_FILE}",
            )
        return Path(named)
    if bento is None:
        return _in_use(root)
    tags = [info.tag for info in bento.info.all_models]
    if not tags:
        raise WeightsError(
            "this Bento holds no model", where=bento.path, remedy="build it again with `bentoml build` in the project"
        )
    try:
        return Path(get(tags[0]).path)
    except BentoMLException:
        raise WeightsError(
            f"the Bento's model {tags[0]} is not in the model store",
            where=bento.path,
            remedy="take Bentos to other machines with `bentoml export` and `bentoml import`, which carry the model",
        ) from None


def _in_use(root: Path) -> Path:
    """The project's model in use; that of an experiment is not, before a person promotes it."""
    workspace, experiment = Workspace(root), ""
    if workspace.in_use == workspace.packaged:
        with suppress(WeightsError):  # what is wrong with it is told when it is loaded
            experiment = read_package(workspace.packaged).experiment
    if experiment:
        raise WeightsError(
            f"the packaged model is that of the experiment {experiment}, and nobody has put it into use",
            where=workspace.packaged,
            remedy="`graft promote` puts it into use; `git checkout dvc.lock` and then `.venv/bin/dvc checkout` bring "
            "back what was packaged before",
        )
    return workspace.in_use


def check_model(folder: Path) -> Artifact:
    """Hold the parts of the model in ``folder`` against each other, and see that something here can run it.

    An ONNX file is loaded and run, which takes half a second; torch, which takes longer to be imported alone, is left
    to the workers.

    Raises:
        WeightsError: there is no model, its parts do not agree, or nothing here can run it.
    """
    card = check_agreement(folder)
    if choose(folder).name != "torch":
        ServedModel.load(folder)
    return card


def identity(folder: Path, card: Artifact) -> dict[str, str]:
    """What every answer says of the model that gave it."""
    return {
        "name": name_of(folder),
        "version": version_of(folder),
        "arch": card.arch,
        "trained_from": card.weights,
        "sha256": card.sha256[:12],
    }


def labels_of(root: Path) -> dict[str, str]:
    """Labels for a Bento that is built of the project in ``root``: its model, what that was made from, how good it is.

    None in a Bento, which holds no project's folder; its labels were written down when it was built.
    """
    try:
        return read_package(Workspace(root).in_use).labels
    except WeightsError:
        return {}  # that there is no model is told by whoever wants one


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
            tag = read_package(Workspace(root).in_use).tag
        except WeightsError:
            tag = "graft:none"
        return cls(tag, root)  # type: ignore[call-arg, arg-type]  # as above

    def to_info(self, alias: str | None = None) -> Any:
        """Called by ``bentoml build``: register the model, and describe it."""
        from graft.serving.model.store import register

        workspace = Workspace(self.root)
        try:
            require_onnx(self.root)
            # What is served is packed too: after a rollback that is not what was packaged last.
            return BentoModel(register(workspace, _in_use(self.root))).to_info(alias)
        except GraftError as error:
            raise BentoMLException(error.message()) from None

    def resolve(self, base_path: Any = None) -> Path:
        """Called by ``bentoml serve`` in a project's folder: the folder itself, whether or not a model is in it."""
        return Path(settings.text(VARIABLE) or Workspace(self.root).in_use)


def require_onnx(root: Path) -> None:
    """Refuse to build a Bento that could not run its model: it brings ONNX Runtime, and torch only where one adds it.

    Raises:
        WeightsError: the project's model in use has no ONNX file, and bentofile.yaml names no torch.
    """
    folder = Workspace(root).in_use
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
