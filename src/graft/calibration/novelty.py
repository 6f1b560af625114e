"""Out-of-distribution detection by the distance of features to those of the nearest training images.

Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022 (arXiv:2204.06507): it needs neither
other data nor a shape for the distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.calibration.fitted_trust import Novelty
from graft.core.determinism import derive_seed
from graft.core.errors import WeightsError
from graft.core.files import sha256
from graft.core.progress import track

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.modalities.preprocessor import Preprocessor
    from graft.models.backbone import Network

REFERENCE_FILE = "reference.safetensors"
_KEY = "features"
MOST_IMAGES = 2000  # training images whose features are kept
# Of a thousand kept images the five nearest: one alone would make an odd training image a reference of its own.
_SHARE = 0.005
# Values of the samples that go through the network together, such as 20 images of 224 px; see training/logits.py.
_VALUES_AT_ONCE = 1 << 22
_ROWS = 1024


def features_of(network: Network, preprocessing: Preprocessor, rows: NDArray[Any]) -> NDArray[np.float32]:
    """Loaded samples (n, ...) -> what the head receives, (n, features), with the network in eval mode."""
    import torch

    where = next(network.parameters()).device
    network.eval()
    parts = [np.empty((0, network.head.in_features), dtype=np.float32)]
    with torch.inference_mode():
        size = max(4, min(256, _VALUES_AT_ONCE // max(1, rows[:1].size)))
        starts = range(0, len(rows), size)
        for start in track(starts, "looking at training images", total=len(starts)):
            batch = preprocessing.collate(np.ascontiguousarray(rows[start : start + size]), where)
            parts.append(network.features(batch).float().cpu().numpy())
    return np.concatenate(parts)


def normalised(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows of length one; a row of zeros, which has no direction, stays as it is and is far from all others."""
    wide = np.asarray(features, dtype=np.float32)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(length > 0, length, 1), dtype=np.float32)


def neighbour(images: int) -> int:
    """Which nearest neighbour is looked at among ``images``: the 0.5% nearest of them, the first of few."""
    return max(1, math.ceil(_SHARE * images))


def distances(
    features: NDArray[np.floating],
    reference: NDArray[np.floating],
    k: int,
    groups: NDArray[np.integer] | None = None,
) -> NDArray[np.float64]:
    """Distance of each image to its k-th nearest reference image, both on the unit sphere, in [0, 2]; equation 3.

    Args:
        features: (n, d), of any length.
        reference: (r, d), of any length; r at least ``k``.
        k: which neighbour, counted from 1.
        groups: int (n,), of features and reference alike: only images of other groups are neighbours, and where these
            are fewer than k the distance is 2.
    """
    return _apart(normalised(features), normalised(reference), k, groups)


def _apart(
    rows: NDArray[np.float32], others: NDArray[np.float32], k: int, groups: NDArray[np.integer] | None = None
) -> NDArray[np.float64]:
    """:func:`distances` of rows of length one."""
    out = np.empty(len(rows))
    # In parts, so that 10,000 images against 2,000 need 8 MB and not 80.
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        alike = rows[part] @ others.T
        if groups is not None:
            alike[groups[part, None] == groups[None, :]] = -1
        squared = np.clip(2 - 2 * np.partition(alike, -k, axis=1)[:, -k].astype(np.float64), 0, 4)
        out[part] = np.sqrt(squared)
    return out


def chosen_rows(labels: NDArray[np.intp], most: int, seed: int) -> NDArray[np.intp]:
    """At most ``most`` places of training images, of every class the same share, in rising order."""
    if len(labels) <= most:
        return np.arange(len(labels))
    rng = np.random.default_rng(derive_seed(seed, "trust", "reference"))
    # Classes in turn, each in random order: the first `most` of that hold of every class what falls to it.
    place = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        place[of_class] = (np.arange(len(of_class)) + rng.random()) / len(of_class)
    return np.sort(np.argsort(place, kind="stable")[:most])


def fit_novelty(features: NDArray[np.floating], groups: NDArray[np.integer], usual: float) -> Novelty:
    """The distance that about a share ``usual`` of unseen images like the training images stays under.

    It is the ``ceil((r + 1) usual)``-th smallest of the training images' distances to those of other groups, by the
    very network that is delivered (Bates et al., "Testing for outliers with conformal p-values", Annals of Statistics
    2023, arXiv:2104.08279, but for leaving one out). What a network was trained on lies nearer together than what it
    was not, so the share is approximate, and the evaluation measures it on the test images. With fewer than ``usual /
    (1 - usual)`` groups (19 for 95%) no distance does that, and there is no threshold.

    Args:
        features: (r, d) of training images by the network that is delivered.
        groups: int (r,): equal for images of one group.
        usual: the share, in (0, 1).
    """
    count = len(np.unique(groups))
    # The small number forgives 20 * 0.95 for being 19.000000000000004.
    least = math.ceil(usual / (1 - usual) - 1e-9)
    if count < least:
        reason = f"{count} training images or groups are too few to choose it on; {usual:.0%} need at least {least}"
        return Novelty(None, 1, usual, len(features), reason=reason)
    rank = math.ceil((len(features) + 1) * usual - 1e-9)
    k = neighbour(len(features))
    found = float(np.sort(distances(features, features, k, groups))[rank - 1])
    # Rounded up: an image at the threshold is a usual one. Never 0, as what is told of is a ratio to it.
    distance = max(1e-4, math.ceil(found * 1e4) / 1e4)
    return Novelty(distance, k, usual, len(features), len(features), reason=None)


@dataclass(frozen=True)
class ReferenceFeatures:
    """The training images' features that lie beside a model, float32 (r, d) of length one, and what they say."""

    features: NDArray[np.float32]
    novelty: Novelty

    def score(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """How unlike the training images each image is, (n,): its distance in units of the threshold, over 1 unlike."""
        assert self.novelty.distance is not None, "a reference without a threshold is not written"
        # To bring a thousand rows to length one again took a service a tenth of its time.
        return _apart(normalised(features), self.features, self.novelty.k) / self.novelty.distance


def write_reference(folder: Path, features: NDArray[np.floating]) -> str:
    """Write the features into ``folder``, in half precision, and return the file's SHA-256."""
    from safetensors.numpy import save_file

    path = folder / REFERENCE_FILE
    # A half is off by a two-thousandth at most, far less than the distances differ, and takes half the room.
    save_file({_KEY: normalised(features).astype(np.float16)}, path)
    path.chmod(0o644)
    return sha256(path)


def check_reference(folder: Path, novelty: Novelty, shown_as: Path | None = None) -> None:
    """Refuse a file that is not the one that model.json was written for, without reading what is in it.

    Raises:
        WeightsError: it is missing or another one.
    """
    if not novelty.sha256:
        return
    path, where = folder / REFERENCE_FILE, (shown_as or folder) / REFERENCE_FILE
    if not path.exists():
        raise WeightsError(
            "the training images' features, which lie beside the model, are missing",
            where=where,
            remedy="make the model again, or copy all files of its folder",
        )
    if sha256(path) != novelty.sha256:
        raise WeightsError(
            "the training images' features are not the ones model.json was written for (their sha256 differs)",
            where=where,
            remedy="make the model again, or take all files from the same copy",
        )


def read_reference(folder: Path, novelty: Novelty) -> ReferenceFeatures | None:
    """The features beside a model; None where model.json names none.

    Raises:
        WeightsError: see :func:`check_reference`.
    """
    from safetensors.numpy import load_file

    if not novelty.sha256 or novelty.distance is None:
        return None
    check_reference(folder, novelty)
    return ReferenceFeatures(normalised(load_file(folder / REFERENCE_FILE)[_KEY]), novelty)
