"""Registers the packaged model in BentoML's model store, whole and once: same model, same tag, wherever it is run.

The store is the user's own (``BENTOML_HOME``, else ``~/bentoml``), shared by all projects on the machine. Two
projects cannot be taken for one another: a tag's version is the hash of the model itself (see
:func:`graft.packaged.version_of`), and nothing here ever asks for ``<name>:latest``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graft import __version__
from graft.artifact import Artifact, read_card
from graft.errors import GraftError, WeightsError
from graft.files import write_text
from graft.packaged import Package, check_files, files_of, read_package
from graft.workspace import Workspace


def register(workspace: Workspace, model: Path | None = None) -> str:
    """Put a model into the store, unless the same one is there already; return its tag.

    BentoML writes a model where it will stay, so a process that is killed leaves half of one, which then breaks
    every listing of the store. Here the model is built beside the store and renamed into it; a half that somebody
    else left under the same tag is replaced.

    Args:
        workspace: the project.
        model: the model's folder; None: models/packaged.

    Raises:
        WeightsError: nothing is packaged there, or it is damaged.
        GraftError: BentoML is not installed, or the store cannot be written.
    """
    folder = model or workspace.packaged
    package = read_package(folder)
    card = read_card(folder)
    check_files(folder, card)
    models, staging_root = _store()
    place = models / package.name / package.version
    try:
        if not _is_whole(place, card, package):
            with tempfile.TemporaryDirectory(dir=staging_root, prefix="graft-") as staging:
                _publish(_build(Path(staging), folder, package, card), place)
        # What `<name>:latest` means to other tools: the model that was registered last.
        write_text(models / package.name / "latest", package.version)
    except OSError as error:
        raise GraftError(
            f"the model store cannot be written: {error.strerror or error}",
            where=error.filename or models,
            remedy="make room or mend its permissions, or set BENTOML_HOME to a folder that can be written",
        ) from None
    return package.tag


def _store() -> tuple[Path, Path]:
    """The store's folder of models, and a folder on the same file system to build in."""
    try:
        from bentoml._internal.configuration.containers import BentoMLContainer
    except ModuleNotFoundError as error:
        raise GraftError(
            f"the model cannot be registered: {error.name} is not installed", remedy="pip install 'graft[serve]'"
        ) from None
    try:
        return Path(BentoMLContainer.model_store_dir.get()), Path(BentoMLContainer.tmp_bento_store_dir.get())
    except OSError as error:
        raise GraftError(
            f"the model store cannot be made: {error.strerror or error}",
            where=error.filename,
            remedy="set BENTOML_HOME to a folder that can be written",
        ) from None


def _is_whole(place: Path, card: Artifact, package: Package) -> bool:
    """Whether the store holds this very model, not a half or a damaged one, and with the same ONNX file."""
    if not (place / "model.yaml").is_file() or not all((place / file).is_file() for file in files_of(card, package)):
        return False
    try:
        # The figures may differ: the same weights evaluated again are still the same model.
        check_files(place, card)
        return read_package(place).onnx_sha256 == package.onnx_sha256
    except WeightsError:
        return False


def _build(staging: Path, packaged: Path, package: Package, card: Artifact) -> Path:
    """Let BentoML lay the model out in a store of its own under ``staging``."""
    import bentoml
    from bentoml._internal.models import ModelStore

    with bentoml.models.create(
        package.tag,
        labels={
            "created-by": f"graft-{__version__}",
            "arch": card.arch,
            "trained-from": card.weights,
            **package.labels,
        },
        metadata=_metadata(package, card),
        _model_store=ModelStore(staging),
    ) as model:
        for file in files_of(card, package):
            shutil.copyfile(packaged / file, model.path_of(file))
    return staging / package.name / package.version


def _publish(built: Path, place: Path) -> None:
    """Rename ``built`` to ``place``; a damaged model there steps aside, a whole one that came first wins."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        shutil.rmtree(place)
    try:
        built.rename(place)
    except OSError:
        # Another process published the same version in between; versions are hashes, so it is the same model.
        if not (place / "model.yaml").is_file():
            raise


def _metadata(package: Package, card: Artifact) -> dict[str, Any]:
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
