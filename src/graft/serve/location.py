"""Which model is served: a folder that was named, else the Bento's own model, else the project's model in use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from _bentoml_sdk.models import Model
from bentoml.exceptions import BentoMLException
from bentoml.models import BentoModel, get

from graft.artifact import CARD_FILE, WEIGHTS_FILE, Artifact, read_card
from graft.errors import GraftError, WeightsError
from graft.packaged import PACKAGE_FILE, check_files, read_package, version_of
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
    named = os.environ.get(VARIABLE)
    if named:
        if not Path(named, CARD_FILE).is_file():
            raise WeightsError(
                f"{VARIABLE} names a folder without a model",
                where=Path(named, CARD_FILE),
                remedy=f"unset {VARIABLE}, or name a folder that holds {CARD_FILE} and {WEIGHTS_FILE}",
            )
        return Path(named)
    if bento is None:
        return Workspace(root).in_use
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


def is_there(bento: Any, root: Path) -> bool:
    """Whether there is a model to serve, whole or not; a Bento brings its own."""
    place = Path(os.environ.get(VARIABLE) or Workspace(root).in_use)
    return (bento is not None and VARIABLE not in os.environ) or (place / CARD_FILE).is_file()


def check_model(folder: Path) -> Artifact:
    """Read the card and compare the weights with it, without loading them: half a second for a bad model to be found.

    Raises:
        WeightsError: there is no model, or its card and weights do not agree.
    """
    card = read_card(folder)
    check_files(folder, card)
    return card


def identity(folder: Path, card: Artifact) -> dict[str, str]:
    """What every answer says of the model that gave it."""
    packaged = (folder / PACKAGE_FILE).exists()
    return {
        "name": read_package(folder).name if packaged else folder.resolve().name,
        "version": version_of(folder),
        "arch": card.arch,
        "trained_from": card.weights,
        "sha256": card.sha256[:12],
    }


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

        try:
            return BentoModel(register(Workspace(self.root))).to_info(alias)
        except GraftError as error:
            raise BentoMLException(error.message()) from None

    def resolve(self, base_path: Any = None) -> Path:
        """Called by ``bentoml serve`` in a project's folder, before any worker starts."""
        # Whether a model is there is looked at after this, and may be waited for.
        return Path(os.environ.get(VARIABLE) or Workspace(self.root).in_use)

    @classmethod
    def from_info(cls, info: Any) -> PackagedModel:
        """A built Bento holds an ordinary model of the store, never one of this kind."""
        raise NotImplementedError

    def to_create_schema(self) -> Any:
        """As above: what is pushed is the store's model."""
        raise NotImplementedError
