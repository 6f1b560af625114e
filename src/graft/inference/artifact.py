"""A trained model on disk: model.json (what it is), model.safetensors, and reference.safetensors for novelty detection.

model.json says which :class:`ModelFormat` writes and reads the weights.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from graft.calibration.fitted_trust import FittedTrust
from graft.core.errors import WeightsError
from graft.core.files import atomic_dir, sha256, write_json
from graft.modalities.registry import preprocessor_from_json
from graft.tasks.registry import CLASSIFICATION, TASKS, find_task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from graft.modalities.preprocessor import Preprocessor
    from graft.models.backbone import Network

FORMAT = 1
WEIGHTS_FILE = "model.safetensors"
ARTIFACT_FILE = "model.json"


@dataclass(frozen=True)
class Artifact:
    """What model.json says of a model: all but its weights.

    Attributes:
        classes: class names in the order of the logits; empty where the task has none.
        arch: a torchvision builder's name, or ``timm:<name>``.
        weights: what the training started from (``source``, ``bundled``, ``none``, ...).
        depth: index of the last block that is kept, or None for the whole network.
        preprocessing: the only preprocessing that may be used with these weights.
        sha256: hash of the weights file; empty until it is written.
        provenance: what made it (seed, hash of the splits, strategy, scores), for people and for model.json.
        trust: its temperature, when it is not sure, and when an image is unlike the training images.
        kind: the key of its format in ``FORMATS``.
        task: what it says of a sample, by its name in :data:`graft.tasks.registry.TASKS`.
    """

    classes: tuple[str, ...]
    arch: str
    weights: str
    depth: int | None
    preprocessing: Preprocessor
    sha256: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    trust: FittedTrust = field(default_factory=FittedTrust)
    kind: str = "architecture"
    task: str = CLASSIFICATION.name

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the network's outputs."""
        return find_task(self.task).outputs(self.classes)

    @property
    def name(self) -> str:
        """Short name for tables, such as ``resnet18 (source, 32 px)``."""
        cut = "" if self.depth is None else f", cut after block {self.depth}"
        return f"{self.arch} ({self.weights}, {self.preprocessing.size} {self.preprocessing.unit}{cut})"


class ModelFormat(Protocol):
    """How a network is written into a model's folder and read again."""

    def write(self, folder: Path, network: Network) -> None:
        """Write ``WEIGHTS_FILE``."""

    def read(self, folder: Path, artifact: Artifact) -> Network:
        """Load the network. Raises WeightsError where file and model.json do not fit."""


class ArchitectureFormat:
    """A state dict: the network is built from model.json's architecture, depth and classes."""

    def write(self, folder: Path, network: Network) -> None:
        """Write the state dict."""
        from safetensors.torch import save_file

        state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        save_file(state, folder / WEIGHTS_FILE)

    def read(self, folder: Path, artifact: Artifact) -> Network:
        """Build the network and load the state dict."""
        from safetensors.torch import load_file

        from graft.models.zoo.registry import build_network

        size = artifact.preprocessing.size
        network = build_network(artifact.arch, len(artifact.outputs), artifact.depth, size)
        try:
            network.load_state_dict(load_file(folder / WEIGHTS_FILE))
        except RuntimeError:
            raise WeightsError(
                f"the model's weights do not fit its network, {artifact.arch}",
                where=folder / WEIGHTS_FILE,
                remedy="make the model again, or use it with the version of graft that made it",
            ) from None
        return network


FORMATS: Mapping[str, ModelFormat] = {"architecture": ArchitectureFormat()}


def save_artifact(
    folder: Path, artifact: Artifact, network: Network, reference: NDArray[np.floating] | None = None
) -> Artifact:
    """Write the model into ``folder`` in one step (replacing what was there); returns it with the hashes.

    Args:
        folder: where to.
        artifact: without hashes.
        network: the weights.
        reference: features (r, d) of training images for novelty detection, kept where model.json has a threshold.

    Raises:
        WeightsError: a weight is not finite; nothing is written.
    """
    from graft.calibration.novelty import write_reference

    broken = [name for name, value in network.state_dict().items() if not bool(value.isfinite().all())]
    if broken:
        raise WeightsError(
            f"the model has weights that are not finite, first in {broken[0]!r}; it is not saved",
            where=folder,
            remedy="train it again at a lower learning rate",
        )
    with atomic_dir(folder) as beside:
        FORMATS[artifact.kind].write(beside, network)
        # safetensors makes its file private; a model is as readable as the folder it lies in.
        (beside / WEIGHTS_FILE).chmod(0o644)
        written = dataclasses.replace(artifact, sha256=sha256(beside / WEIGHTS_FILE))
        if reference is not None and artifact.trust.novelty.distance is not None:
            novelty = dataclasses.replace(artifact.trust.novelty, sha256=write_reference(beside, reference))
            written = dataclasses.replace(written, trust=dataclasses.replace(artifact.trust, novelty=novelty))
        values = {**dataclasses.asdict(written), "preprocessing": written.preprocessing.to_json()}
        write_json(beside / ARTIFACT_FILE, {"format": FORMAT, **values})
    return written


def read_artifact(folder: Path) -> Artifact:
    """Read ``model.json`` alone.

    Raises:
        WeightsError: there is no model, or model.json cannot be read.
    """
    path = folder / ARTIFACT_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        known = values.get("kind", "architecture") in FORMATS and values.get("task", CLASSIFICATION.name) in TASKS
        if values.pop("format") != FORMAT or not known:
            raise WeightsError("this model was written by another version of graft", where=path)
        preprocessing = preprocessor_from_json(values.pop("preprocessing"))
        trust = FittedTrust.from_json(values.pop("trust", None))
        return Artifact(classes=tuple(values.pop("classes")), preprocessing=preprocessing, trust=trust, **values)
    except (FileNotFoundError, NotADirectoryError):
        raise WeightsError("there is no model here", where=path, remedy=_how_to_get(folder)) from None
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"model.json is damaged: {error}", where=path, remedy="make the model again") from None


def _how_to_get(folder: Path) -> str:
    pointer = folder.with_name("promoted.dvc")
    if pointer.is_file():  # as in a new clone, which has git's files and no model yet
        fetch = f"`.venv/bin/dvc pull {pointer.parent.name}/{pointer.name}` brings the production model"
        return f"{fetch}; `.venv/bin/dvc repro` makes one"
    return "run `make demo`, or `.venv/bin/dvc repro`, to make one"


def load_artifact(folder: Path) -> tuple[Artifact, Network]:
    """Load a model and its network.

    Raises:
        WeightsError: there is no model, or the weights are not the ones model.json was written for.
    """
    artifact = read_artifact(folder)
    check_weights(folder, artifact)
    return artifact, FORMATS[artifact.kind].read(folder, artifact)


def check_weights(folder: Path, artifact: Artifact, shown_as: Path | None = None) -> None:
    """Compare the SHA-256 of the weights file with model.json.

    Args:
        folder: holds the weights.
        artifact: of the model.
        shown_as: the folder that messages name; None: ``folder``.

    Raises:
        WeightsError: the weights are missing, or not the ones model.json was written for.
    """
    path, where = folder / WEIGHTS_FILE, (shown_as or folder) / WEIGHTS_FILE
    if not path.exists():
        raise WeightsError("the model's weights are missing", where=where, remedy="make the model again")
    if sha256(path) != artifact.sha256:
        raise WeightsError(
            "the weights are not the ones model.json was written for (their sha256 differs)",
            where=where,
            remedy="make the model again, or take both files from the same copy",
        )
