"""A packaged model: an artifact with package.json, which holds its name, version, metrics and provenance."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.calibration.novelty import REFERENCE_FILE, check_reference
from graft.core.errors import WeightsError
from graft.core.files import atomic_dir, sha256, write_json
from graft.inference.artifact import ARTIFACT_FILE, WEIGHTS_FILE, Artifact, check_weights, read_artifact

PACKAGE_FILE = "package.json"
ONNX_FILE = "model.onnx"
_REMEDY = "run `.venv/bin/dvc repro package`, which packages the fine-tuned model if it passes the gate"


@dataclass(frozen=True)
class PackagedModel:
    """The content of package.json.

    Attributes:
        name: the model's name, from ``package.name``.
        version: see :func:`version_of`.
        metrics: headline metrics of the evaluation.
        gate: the conditions that were checked, each with ``condition``, ``limit``, ``figure`` and ``passed``.
        onnx: ``sha256`` of model.onnx and its parity with torch, or why there is none (``refused``); empty where no
            export was tried.
        origin: provenance (:mod:`graft.registry.provenance`); empty where it is not known.
        experiment: name of the DVC experiment that made it, if one did.
    """

    name: str
    version: str
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    gate: Sequence[Mapping[str, Any]] = ()
    onnx: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    experiment: str = ""

    @property
    def refused(self) -> tuple[Mapping[str, Any], ...]:
        """Conditions of the gate that it fails; only an experiment's model is packaged all the same."""
        return tuple(check for check in self.gate if not check.get("passed"))

    @property
    def tag(self) -> str:
        """``name:version``, as the model store writes it."""
        return f"{self.name}:{self.version}"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the BentoML model and Bento: version, provenance, headline metrics."""
        bounds = self.metrics.get("accuracy_ci95") or ()
        told = {
            "model": self.tag,
            "data": self.origin.get("data"),
            "params": self.origin.get("params"),
            "commit": self.origin.get("commit"),
            **{name: _four(self.metrics.get(name)) for name in ("accuracy", "macro_f1")},
            "accuracy-ci95": " to ".join(_four(bound) for bound in bounds),
            "test-images": self.metrics.get("n_test"),
        }
        return {name: str(value) for name, value in told.items() if value}

    @property
    def onnx_sha256(self) -> str:
        """SHA-256 of model.onnx; empty where there is none."""
        return str(self.onnx.get("sha256", ""))


def _four(figure: Any) -> str:
    return f"{figure:.4f}" if isinstance(figure, int | float) else ""


def files_of(artifact: Artifact, package: PackagedModel | None = None) -> tuple[str, ...]:
    """Names of the files of a packaged model with this model.json."""
    features = (REFERENCE_FILE,) if artifact.trust.novelty.sha256 else ()
    onnx = (ONNX_FILE,) if package is not None and package.onnx_sha256 else ()
    return (WEIGHTS_FILE, ARTIFACT_FILE, PACKAGE_FILE, *features, *onnx)


def version_of(folder: Path) -> str:
    """The model's version: the first 12 hexadecimal digits of the SHA-256 of model.json.

    model.json holds classes, preprocessing and the hashes of the other files, so equal versions are equal models.
    """
    return sha256(folder / ARTIFACT_FILE)[:12]


def name_of(folder: Path) -> str:
    """The model's name, or the folder's name where it was not packaged.

    Raises:
        WeightsError: the package's description is damaged.
    """
    return read_package(folder).name if (folder / PACKAGE_FILE).exists() else folder.resolve().name


def title_of(folder: Path) -> str:
    """``name:version`` of the model in ``folder``. Raises WeightsError as :func:`name_of` does."""
    return f"{name_of(folder)}:{version_of(folder)}"


def headline_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics that are packaged: numbers, intervals, and the verdict against the production model."""
    kept: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, int | float | str) or (isinstance(value, list) and len(value) == 2):
            kept[name] = value
    if isinstance(metrics.get("production"), dict):
        kept["production"] = dict(metrics["production"])
    return kept


def write_package(
    source: Path,
    target: Path,
    name: str,
    metrics: Mapping[str, Any],
    gate: Sequence[Mapping[str, Any]],
    export: Callable[[Path], Mapping[str, Any]] | None = None,
    origin: Mapping[str, Any] | None = None,
    experiment: str = "",
) -> PackagedModel:
    """Copy a model to ``target`` in one step, with its package.json.

    Args:
        source: the model's folder.
        target: the package's folder, which is replaced.
        name: the model's name.
        metrics: the evaluation's metrics, of which the headline is kept.
        gate: the gate's results (``PackagedModel.gate``).
        export: exports the model in the folder it is given, and returns ``PackagedModel.onnx``.
        origin: its provenance.
        experiment: name of the DVC experiment that made it, if one did.

    Raises:
        WeightsError: there is no model in ``source``, or its files are not the ones model.json was written for.
    """
    artifact = read_artifact(source)
    check_files(source, artifact)
    with atomic_dir(target) as beside:
        for file in files_of(artifact):
            if file != PACKAGE_FILE:
                shutil.copyfile(source / file, beside / file)
        # The copy is hashed too: it is what will be served.
        check_files(beside, artifact, shown_as=source)
        onnx = {} if export is None else export(beside)
        package = PackagedModel(
            name, version_of(beside), headline_metrics(metrics), tuple(gate), onnx, origin or {}, experiment
        )
        write_json(beside / PACKAGE_FILE, {**dataclasses.asdict(package), "tag": package.tag})
    return package


def check_files(folder: Path, artifact: Artifact, shown_as: Path | None = None) -> None:
    """Compare the SHA-256 of the model's files with model.json.

    Raises:
        WeightsError: one is missing or another.
    """
    check_weights(folder, artifact, shown_as)
    check_reference(folder, artifact.trust.novelty, shown_as)


def read_package(folder: Path) -> PackagedModel:
    """Read ``package.json``.

    Raises:
        WeightsError: nothing was packaged here, or the file is damaged or belongs to another model.
    """
    path = folder / PACKAGE_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        # Packages from before there were ONNX files or origins say nothing of them.
        onnx, origin = (dict(values[key]) if key in values else {} for key in ("onnx", "origin"))
        experiment = str(values.get("experiment", ""))
        package = PackagedModel(
            values["name"], values["version"], values["metrics"], tuple(values["gate"]), onnx, origin, experiment
        )
    except FileNotFoundError:
        raise WeightsError("no model was packaged here", where=path, remedy=_REMEDY) from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"the package's description is damaged: {error!r}", where=path, remedy=_REMEDY) from None
    if (folder / ARTIFACT_FILE).exists() and version_of(folder) != package.version:
        raise WeightsError("model.json is not the one that was packaged", where=folder / ARTIFACT_FILE, remedy=_REMEDY)
    return package
