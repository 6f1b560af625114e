"""Which model is served: the folder that GRAFT_MODEL names, else the Bento's, else the project's production model."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from bentoml.exceptions import BentoMLException
from bentoml.models import get

from graft.core.errors import WeightsError
from graft.core.workspace import Workspace
from graft.inference.artifact import ARTIFACT_FILE, WEIGHTS_FILE, Artifact
from graft.inference.engines import choose_engine
from graft.inference.integrity import check_integrity
from graft.inference.package import name_of, read_package, version_of
from graft.inference.served_model import ServedModel
from graft.serving import settings

VARIABLE = "GRAFT_MODEL"


def model_folder(bento: Any, root: Path) -> Path:
    """The folder of the model to serve; it need not exist.

    Args:
        bento: the Bento that is being served, or None when it is a project's folder.
        root: the project's folder.

    Raises:
        WeightsError: the named folder holds no model, or the Bento's model is not in the store.
    """
    named = settings.text(VARIABLE)
    if named:
        if not Path(named, ARTIFACT_FILE).is_file():
            raise WeightsError(
                f"{VARIABLE} names a folder without a model",
                where=Path(named, ARTIFACT_FILE),
                remedy=f"unset {VARIABLE}, or name a folder that holds {ARTIFACT_FILE} and {WEIGHTS_FILE}",
            )
        return Path(named)
    if bento is None:
        return production_model(root)
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


def production_model(root: Path) -> Path:
    """The project's promoted model, else its packaged one.

    Raises:
        WeightsError: the packaged model is an experiment's, which nobody has promoted.
    """
    workspace, experiment = Workspace(root), ""
    if workspace.production_model == workspace.packaged:
        with suppress(WeightsError):  # told when it is loaded
            experiment = read_package(workspace.packaged).experiment
    if experiment:
        raise WeightsError(
            f"the packaged model is that of the experiment {experiment}, and nobody has put it into use",
            where=workspace.packaged,
            remedy="`graft promote` puts it into use; `git checkout dvc.lock` and then `.venv/bin/dvc checkout` bring "
            "back what was packaged before",
        )
    return workspace.production_model


def check_model(folder: Path) -> Artifact:
    """Check the model's files, and that an engine on this machine can run it.

    An ONNX file is run, which takes half a second; torch, slow to import, is left to the workers.

    Raises:
        WeightsError: there is no model, its files do not belong together, or no engine can run it.
    """
    artifact = check_integrity(folder)
    if choose_engine(folder).name != "torch":
        ServedModel.load(folder)
    return artifact


def identity(folder: Path, artifact: Artifact) -> dict[str, str]:
    """What every response says of the model."""
    return {
        "name": name_of(folder),
        "version": version_of(folder),
        "arch": artifact.arch,
        "trained_from": artifact.weights,
        "sha256": artifact.sha256[:12],
    }
