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
from graft.inference.artifact import Artifact, read_card
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
    package, card = read_package(folder), read_card(folder)
    check_files(folder, card)
    try:
        from bentoml.exceptions import BentoMLException
    except ModuleNotFoundError as error:
        raise GraftError(
            f"the model cannot be registered: {error.name} is not installed", remedy="pip install 'graft[serve]'"
        ) from None
    try:
        if not _is_registered(card, package):
            _create(folder, card, package)
    except (OSError, BentoMLException) as error:
        raise GraftError(
            f"the model store cannot be written: {getattr(error, 'strerror', None) or error}",
            where=getattr(error, "filename", None),
            remedy="make room or mend its permissions, or set BENTOML_HOME to a folder that can be written",
        ) from None
    return package.tag


def _is_registered(card: Artifact, package: PackagedModel) -> bool:
    """Whether the store holds this very model, with the same ONNX file; what is damaged under its tag is deleted."""
    import bentoml
    from bentoml.exceptions import BentoMLException, NotFound

    try:
        place = Path(bentoml.models.get(package.tag).path)
        # The figures may differ: the same weights evaluated again are still the same model.
        check_files(place, card)
        if read_package(place).onnx_sha256 == package.onnx_sha256 and _has_all(place, card, package):
            return True
    except NotFound:
        return False
    except (WeightsError, BentoMLException):
        pass
    bentoml.models.delete(package.tag)
    return False


def _has_all(place: Path, card: Artifact, package: PackagedModel) -> bool:
    return all((place / file).is_file() for file in files_of(card, package))


def _create(folder: Path, card: Artifact, package: PackagedModel) -> None:
    import bentoml

    labels = {"created-by": f"graft-{__version__}", "arch": card.arch, "trained-from": card.weights, **package.labels}
    with bentoml.models.create(package.tag, labels=labels, metadata=_metadata(package, card)) as model:
        for file in files_of(card, package):
            shutil.copyfile(folder / file, model.path_of(file))


def _metadata(package: PackagedModel, card: Artifact) -> dict[str, Any]:
    """What `bentoml models get` shows: figures, classes, provenance."""
    return {
        "classes": list(card.classes),
        "size": card.preprocessing.geometry.size,
        "weights_sha256": card.sha256,
        "metrics": _plain(package.metrics),
        "provenance": _plain(card.provenance),
    }


def _plain(value: Any) -> Any:
    """A deep copy without nulls, which the store's metadata cannot hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value if item is not None]
    return value
