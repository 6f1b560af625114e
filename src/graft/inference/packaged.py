"""A packaged model: the artifact as it was fine-tuned, plus package.json, which says its name, version and proof."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.calibration.novelty import REFERENCE_FILE, check_reference
from graft.core.errors import WeightsError
from graft.core.files import atomic_dir, sha256, write_json
from graft.inference.artifact import CARD_FILE, WEIGHTS_FILE, Artifact, read_card

if TYPE_CHECKING:
    from graft.registry.gate import GateResult

PACKAGE_FILE = "package.json"
ONNX_FILE = "model.onnx"
_REMEDY = "run `.venv/bin/dvc repro package`, which packages the fine-tuned model if it passes the gate"


@dataclass(frozen=True)
class Package:
    """What package.json says.

    Attributes:
        name: the model's name in the store, from ``package.name``.
        version: see :func:`version_of`.
        metrics: the evaluation's headline figures.
        gate: the conditions that were checked, each with its limit and figure.
        onnx: what is known of model.onnx: its ``sha256`` and the comparison with torch, or why there is none
            (``refused``); empty where nobody tried.
        origin: what it was made from (:mod:`graft.registry.provenance`); empty where that is not known.
        experiment: DVC's name of the experiment that made it; empty where the main line did.
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
        """The conditions of the gate that it does not meet; only an experiment's model is packaged all the same."""
        return tuple(check for check in self.gate if not check.get("passed"))

    @property
    def tag(self) -> str:
        """``name:version``, as the model store writes it."""
        return f"{self.name}:{self.version}"

    @property
    def labels(self) -> dict[str, str]:
        """Short texts for whoever lists models or Bentos: what it is, what it was made from, how good it is."""
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
        """The hash of model.onnx; empty where the model has none."""
        return str(self.onnx.get("sha256", ""))


def _four(figure: Any) -> str:
    return f"{figure:.4f}" if isinstance(figure, int | float) else ""


def files_of(card: Artifact, package: Package | None = None) -> tuple[str, ...]:
    """The files that a packaged model of this card consists of; ``package`` says whether there is an ONNX file."""
    features = (REFERENCE_FILE,) if card.trust.novelty.sha256 else ()
    onnx = (ONNX_FILE,) if package is not None and package.onnx_sha256 else ()
    return (WEIGHTS_FILE, CARD_FILE, PACKAGE_FILE, *features, *onnx)


def version_of(folder: Path) -> str:
    """The version of the model in ``folder``: 12 hexadecimal digits of its card's SHA-256.

    The card holds the hashes of the other files, the classes and the preprocessing, so the same version means the
    same model whoever made it and wherever, and a model whose classes alone were renamed is another one.
    """
    return sha256(folder / CARD_FILE)[:12]


def name_of(folder: Path) -> str:
    """The name of the model in ``folder``; one that was not packaged is named by its folder.

    Raises:
        WeightsError: the package's description is damaged.
    """
    return read_package(folder).name if (folder / PACKAGE_FILE).exists() else folder.resolve().name


def title_of(folder: Path) -> str:
    """``name:version`` of the model in ``folder``. Raises WeightsError as :func:`name_of` does."""
    return f"{name_of(folder)}:{version_of(folder)}"


def headline(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The evaluation's figures that go with the model: plain numbers, short lists of them, the verdict on transfer, and
    the comparison with the model that was in use."""
    kept: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, int | float | str) or (isinstance(value, list) and len(value) == 2):
            kept[name] = value
    transfer = metrics.get("transfer")
    if isinstance(transfer, dict) and "verdict" in transfer:
        kept["transfer"] = {"verdict": transfer["verdict"]}
    if isinstance(metrics.get("incumbent"), dict):
        kept["incumbent"] = dict(metrics["incumbent"])
    return kept


def write_package(
    source: Path,
    target: Path,
    name: str,
    metrics: Mapping[str, Any],
    checks: Sequence[GateResult],
    export: Callable[[Path], Mapping[str, Any]] | None = None,
    origin: Mapping[str, Any] | None = None,
    experiment: str = "",
) -> Package:
    """Copy the model in ``source`` to ``target`` whole, with its package.json; what was there is replaced at once.

    Args:
        source: the model's folder.
        target: the package's.
        name: the model's name in the store.
        metrics: the evaluation's figures.
        checks: the gate's.
        export: writes the model for another engine beside it, into the folder it is given, and says what the package
            knows of it (``Package.onnx``).
        origin: what the model was made from (``Package.origin``).
        experiment: the experiment that made it, if one did.

    Raises:
        WeightsError: there is no model in ``source``, or its weights are not the ones its card was written for.
    """
    card = read_card(source)
    check_files(source, card)
    with atomic_dir(target) as beside:
        for file in files_of(card):
            if file != PACKAGE_FILE:
                shutil.copyfile(source / file, beside / file)
        # The copy is hashed too: what is checked is what will be served.
        check_files(beside, card, shown_as=source)
        gate = tuple({k: v for k, v in dataclasses.asdict(check).items() if k != "reason"} for check in checks)
        onnx = {} if export is None else export(beside)
        package = Package(name, version_of(beside), headline(metrics), gate, onnx, origin or {}, experiment)
        write_json(beside / PACKAGE_FILE, {**dataclasses.asdict(package), "tag": package.tag})
    return package


def check_files(folder: Path, card: Artifact, shown_as: Path | None = None) -> None:
    """Refuse files whose SHA-256 is not the one that ``card`` says, without loading them.

    Raises:
        WeightsError: one is missing or another.
    """
    path = folder / WEIGHTS_FILE
    where = (shown_as or folder) / WEIGHTS_FILE
    if not path.exists():
        raise WeightsError("the model's weights are missing", where=where, remedy="make the model again")
    if sha256(path) != card.sha256:
        raise WeightsError(
            "the weights are not the ones this model's card was written for (their sha256 differs)",
            where=where,
            remedy="make the model again, or take both files from the same copy",
        )
    check_reference(folder, card.trust.novelty, shown_as)


def read_package(folder: Path) -> Package:
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
        package = Package(
            values["name"], values["version"], values["metrics"], tuple(values["gate"]), onnx, origin, experiment
        )
    except FileNotFoundError:
        raise WeightsError("no model was packaged here", where=path, remedy=_REMEDY) from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"the package's description is damaged: {error!r}", where=path, remedy=_REMEDY) from None
    if (folder / CARD_FILE).exists() and version_of(folder) != package.version:
        raise WeightsError(
            "the model's card is not the one that was packaged", where=folder / CARD_FILE, remedy=_REMEDY
        )
    return package
