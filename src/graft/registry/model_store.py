"""Registration of the packaged model in BentoML's model store: same model, same tag, on whatever machine.

The store is the user's own (``BENTOML_HOME``, else ``~/bentoml``), shared by all projects on the machine. A tag's
version is the hash of the model itself (see :func:`graft.inference.package.version_of`), and nothing here asks for
``<name>:latest``.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graft import __version__
from graft.core.errors import GraftError, WeightsError
from graft.core.workspace import Workspace
from graft.inference.artifact import Artifact, read_artifact
from graft.inference.package import PackagedModel, check_files, files_of, read_package


def register(workspace: Workspace, model: Path | None = None) -> str:
    """Put a model into the store, unless the same one is there already; return its tag.

    A damaged or half-written model under the same tag is replaced.

    Args:
        workspace: the project.
        model: the model's folder; None: models/packaged.

    Raises:
        WeightsError: nothing is packaged there, or it is damaged.
        GraftError: BentoML is not installed, or the store cannot be written.
    """
    folder = model or workspace.packaged
    package, artifact = read_package(folder), read_artifact(folder)
    check_files(folder, artifact)
    try:
        from bentoml.exceptions import BentoMLException
    except ModuleNotFoundError as error:
        raise GraftError(
            f"the model cannot be registered: {error.name} is not installed", remedy="pip install 'graft[serve]'"
        ) from None
    try:
        if not _is_registered(artifact, package):
            _create(folder, artifact, package)
    except (OSError, BentoMLException) as error:
        raise GraftError(
            f"the model store cannot be written: {getattr(error, 'strerror', None) or error}",
            where=getattr(error, "filename", None),
            remedy="make room or mend its permissions, or set BENTOML_HOME to a folder that can be written",
        ) from None
    return package.tag


def _is_registered(artifact: Artifact, package: PackagedModel) -> bool:
    """Whether the store holds this very model, with the same ONNX file; what is damaged under its tag is deleted."""
    import bentoml
    from bentoml.exceptions import BentoMLException, NotFound

    try:
        place = Path(bentoml.models.get(package.tag).path)
        # The figures may differ: the same weights evaluated again are still the same model.
        check_files(place, artifact)
        if read_package(place).onnx_sha256 == package.onnx_sha256 and _has_all(place, artifact, package):
            return True
    except NotFound:
        return False
    except (WeightsError, BentoMLException):
        pass
    bentoml.models.delete(package.tag)
    return False


def _has_all(place: Path, artifact: Artifact, package: PackagedModel) -> bool:
    return all((place / file).is_file() for file in files_of(artifact, package))


def _create(folder: Path, artifact: Artifact, package: PackagedModel) -> None:
    import bentoml

    labels = {
        "created-by": f"graft-{__version__}",
        "arch": artifact.arch,
        "trained-from": artifact.weights,
        **package.labels,
    }
    with bentoml.models.create(package.tag, labels=labels, metadata=_metadata(package, artifact)) as model:
        for file in files_of(artifact, package):
            shutil.copyfile(folder / file, model.path_of(file))


def _metadata(package: PackagedModel, artifact: Artifact) -> dict[str, Any]:
    """What `bentoml models get` shows: figures, classes, provenance."""
    return {
        "classes": list(artifact.classes),
        "size": artifact.preprocessing.size,
        "weights_sha256": artifact.sha256,
        "metrics": _plain(package.metrics),
        "provenance": _plain(artifact.provenance),
    }


def _plain(value: Any) -> Any:
    """A deep copy without nulls, which the store's metadata cannot hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value if item is not None]
    return value
