"""Which model is served: a folder that was named, else the Bento's own model, else the project's model in use."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from _bentoml_sdk.models import Model
from bentoml.exceptions import BentoMLException
from bentoml.models import BentoModel, get

from graft.artifact import CARD_FILE, WEIGHTS_FILE, Artifact
from graft.errors import GraftError, WeightsError
from graft.packaged import name_of, read_package, version_of
from graft.runtime.agreement import check_agreement
from graft.runtime.engines import choose
from graft.runtime.served import ServedModel
from graft.serve import environment
from graft.workspace import Workspace

VARIABLE = "GRAFT_MODEL"


def model_folder(bento: Any, root: Path) -> Path:
    """The folder of the model to serve; whether a model is in it is for the caller to see.

    Args:
        bento: the Bento that is being served, or None when it is a project's folder.
        root: the project's folder.

    Raises:
        WeightsError: the named folder holds no model, or the Bento's model is not in the store.
    """
    named = environment.text(VARIABLE)
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


def is_there(bento: Any, root: Path) -> bool:
    """Whether there is a model to serve, whole or not; a Bento brings its own."""
    named = environment.text(VARIABLE)
    place = Path(named or Workspace(root).in_use)
    return (bento is not None and not named) or (place / CARD_FILE).is_file()


def check_model(folder: Path, engine: str = "") -> Artifact:
    """Hold the parts of the model in ``folder`` against each other, and see that something here can run it.

    An ONNX file is loaded and run, which takes half a second; torch, which takes longer to be imported alone, is left
    to the workers.

    Raises:
        WeightsError: there is no model, its parts do not agree, or nothing here can run it.
        ConfigError: there is no such engine.
    """
    card = check_agreement(folder)
    if choose(folder, engine).name != "torch":
        ServedModel.load(folder, wanted=engine)
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


class PackagedModel(Model[Path]):  # type: ignore[misc]  # BentoML's class has no types
    """The project's packaged model, as BentoML sees it.

    BentoML asks a model for its tag when it builds a Bento, and for its place when it serves. Naming a tag in
    bentofile.yaml would answer the first wrongly (``latest`` is whatever some project on this machine registered
    last) and would make the second need the store. This answers the first by registering what lies in the
    project's folder, so that a Bento always holds exactly that, and the second with the folder itself.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def to_info(self, alias: str | None = None) -> Any:
        """Called by ``bentoml build``: register, and say under which tag."""
        from graft.serve.model_store import register

        workspace = Workspace(self.root)
        try:
            require_onnx(self.root)
            # What is served is packed too: after a rollback that is not what was packaged last.
            return BentoModel(register(workspace, _in_use(self.root))).to_info(alias)
        except GraftError as error:
            raise BentoMLException(error.message()) from None

    def resolve(self, base_path: Any = None) -> Path:
        """Called by ``bentoml serve`` in a project's folder, before any worker starts."""
        # Whether a model is there is looked at after this, and may be waited for.
        return Path(environment.text(VARIABLE) or Workspace(self.root).in_use)

    @classmethod
    def from_info(cls, info: Any) -> PackagedModel:
        """A built Bento holds an ordinary model of the store, never one of this kind."""
        raise NotImplementedError

    def to_create_schema(self) -> Any:
        """As above: what is pushed is the store's model."""
        raise NotImplementedError


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
        "or add torch, torchvision and timm to the packages of bentofile.yaml, and src/graft/zoo/*.py to its `include`",
    )
