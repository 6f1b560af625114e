"""A model on disk: model.safetensors, one model.json (classes, spec, preprocessing, hashes, provenance, trust), and
where the training could hold images out reference.safetensors, the features that an image is held against."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.errors import WeightsError
from graft.files import sha256, whole_folder, write_json
from graft.trust.card import Trust
from graft.zoo.preprocessing import Geometry, Preprocessing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from graft.zoo.network import Network

FORMAT = 1
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "model.json"


@dataclass(frozen=True)
class Artifact:
    """What is known of a model apart from its weights.

    Attributes:
        classes: class names in the order of the logits.
        arch: a torchvision builder's name, or ``timm:<name>``.
        weights: what the training started from (``source``, ``bundled``, ``none``, ...).
        depth: index of the last block that is kept, or None for the whole network.
        preprocessing: the only preprocessing that may be used with these weights.
        sha256: hash of the weights file; empty until it is written.
        provenance: what made it (seed, hash of the splits, strategy, scores), for people and for the model's card.
        trust: its temperature, when it is not sure, and when an image is unlike the training images.
    """

    classes: tuple[str, ...]
    arch: str
    weights: str
    depth: int | None
    preprocessing: Preprocessing
    sha256: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    trust: Trust = field(default_factory=Trust)

    @property
    def name(self) -> str:
        """Short name for tables, such as ``resnet18 (source, 32 px)``."""
        cut = "" if self.depth is None else f", cut after block {self.depth}"
        return f"{self.arch} ({self.weights}, {self.preprocessing.geometry.size} px{cut})"


def save_artifact(
    folder: Path, artifact: Artifact, network: Network, reference: NDArray[np.floating] | None = None
) -> Artifact:
    """Write the model whole into ``folder`` (replacing what was there) and return it with its hashes filled in.

    Args:
        folder: where to.
        artifact: all that is known of it but for the hashes.
        network: the weights.
        reference: features (r, d) of training images, kept beside the model where the card has a threshold for them.

    Raises:
        WeightsError: there are weights that are no numbers; nothing is written.
    """
    from safetensors.torch import save_file

    from graft.trust.novelty import write_reference

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    broken = [name for name, value in state.items() if not bool(value.isfinite().all())]
    if broken:
        raise WeightsError(
            f"the model has weights that are not finite, first in {broken[0]!r}; it is not saved",
            where=folder,
            remedy="train it again at a lower learning rate",
        )
    with whole_folder(folder) as beside:
        save_file(state, beside / WEIGHTS_FILE)
        # safetensors makes its file private; a model is as readable as the folder it lies in.
        (beside / WEIGHTS_FILE).chmod(0o644)
        written = dataclasses.replace(artifact, sha256=sha256(beside / WEIGHTS_FILE))
        if reference is not None and artifact.trust.novelty.distance is not None:
            novelty = dataclasses.replace(artifact.trust.novelty, sha256=write_reference(beside, reference))
            written = dataclasses.replace(written, trust=dataclasses.replace(artifact.trust, novelty=novelty))
        write_json(beside / CARD_FILE, {"format": FORMAT, **dataclasses.asdict(written)})
    return written


def read_card(folder: Path) -> Artifact:
    """Read ``model.json`` alone, without loading the weights.

    Raises:
        WeightsError: there is no model, or its card cannot be read.
    """
    path = folder / CARD_FILE
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if card.pop("format") != FORMAT:
            raise WeightsError("this model was written by another version of graft", where=path)
        geometry = _geometry(card["preprocessing"].pop("geometry"))
        values = {name: tuple(value) for name, value in card.pop("preprocessing").items()}
        preprocessing = Preprocessing(geometry, **values)
        trust = Trust.from_json(card.pop("trust", None))
        return Artifact(classes=tuple(card.pop("classes")), preprocessing=preprocessing, trust=trust, **card)
    except (FileNotFoundError, NotADirectoryError):
        raise WeightsError("there is no model here", where=path, remedy=_how_to_get(folder)) from None
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"the model's card is damaged: {error}", where=path, remedy="make the model again") from None


def _geometry(values: dict[str, Any]) -> Geometry:
    """What the card says; one from before there was a choice says nothing of fit and depth, and means the defaults."""
    if values.get("depth_range") is not None:
        low, high = values["depth_range"]
        values["depth_range"] = (low, high)
    return Geometry(**values)


def _how_to_get(folder: Path) -> str:
    pointer = folder.with_name("promoted.dvc")
    if pointer.is_file():  # as in a new clone, which has git's files and no model yet
        fetch = f"`.venv/bin/dvc pull {pointer.parent.name}/{pointer.name}` brings the model in use"
        return f"{fetch}; `.venv/bin/dvc repro` makes one"
    return "run `make demo`, or `.venv/bin/dvc repro`, to make one"


def load_artifact(folder: Path) -> tuple[Artifact, Network]:
    """Load card and weights, refusing weights that are not the ones the card was written for.

    Raises:
        WeightsError: there is no model, or its hash, tensors or card do not agree.
    """
    from safetensors.torch import load_file

    from graft.zoo.network import build_network

    artifact = read_card(folder)
    path = folder / WEIGHTS_FILE
    if not path.exists():
        raise WeightsError("the model's weights are missing", where=path, remedy="make the model again")
    if sha256(path) != artifact.sha256:
        raise WeightsError(
            "the weights are not the ones this model's card was written for (their sha256 differs)",
            where=path,
            remedy="make the model again, or take both files from the same copy",
        )
    size = artifact.preprocessing.geometry.size
    network = build_network(artifact.arch, len(artifact.classes), artifact.depth, size)
    try:
        network.load_state_dict(load_file(path))
    except RuntimeError:
        raise WeightsError(
            f"the model's weights do not fit its network, {artifact.arch}",
            where=path,
            remedy="make the model again, or use it with the version of graft that made it",
        ) from None
    return artifact, network
