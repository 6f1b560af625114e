"""Two small models with answers that a test can know: one of colours, one of the built-in digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from graft.calibration.fitted_trust import FittedTrust, Novelty, Temperature, Threshold
from graft.calibration.novelty import features_of
from graft.inference.artifact import Artifact, save_artifact
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.models.backbone import Network
from graft.models.zoo.registry import build_network

ARCH = "resnet18"
DEPTH = 1
COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
_PREPROCESSING = ImagePreprocessor(Geometry(32, 1.0, "bilinear"), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# Between the distances of pure and mixed colours, 0.02 to 0.16, and that of coloured noise, 0.25.
_NOVELTY = 0.2


def tell_colours(folder: Path) -> None:
    """A model that knows three colours: features of random weights, a head fitted on them.

    It is sure of a pure colour, not sure of one between two, and finds coloured noise unlike what it has seen.
    """
    from sklearn.linear_model import LogisticRegression

    torch.manual_seed(0)
    random = np.random.default_rng(0)
    labels = np.arange(120) % len(COLOURS)
    plain = np.array(list(COLOURS.values()))[labels] + random.integers(-40, 41, (120, 3))
    seen = np.clip(plain[:, None, None] + random.normal(0, 8, (120, 32, 32, 3)), 0, 255).astype(np.uint8)
    network = build_network(ARCH, len(COLOURS), depth=DEPTH)
    features = features_of(network, _PREPROCESSING, seen)
    fitted = LogisticRegression(C=100, max_iter=1000).fit(features, labels)
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(fitted.coef_))
        network.head.bias.copy_(torch.from_numpy(fitted.intercept_))
    _save(folder, tuple(COLOURS), network, features)


def read_digits(folder: Path, epochs: int = 4) -> None:
    """A model that reads the built-in digits, all of which it has seen: ten seconds of training."""
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    random = np.random.default_rng(0)
    digits = load_digits()
    levels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    seen = np.stack([_PREPROCESSING.geometry.apply(Image.fromarray(level).convert("RGB")) for level in levels])
    labels = torch.from_numpy(digits.target)
    network = build_network(ARCH, 10, depth=DEPTH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    batches = [rows for _ in range(epochs) for rows in np.array_split(random.permutation(len(seen)), 28)]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=len(batches))
    network.train()
    for rows in batches:
        optimizer.zero_grad()
        logits = network(_PREPROCESSING.normalise(torch.from_numpy(seen[rows])))
        torch.nn.functional.cross_entropy(logits, labels[rows]).backward()
        optimizer.step()
        schedule.step()
    _save(folder, tuple("0123456789"), network.eval(), features_of(network, _PREPROCESSING, seen))


def _save(folder: Path, classes: tuple[str, ...], network: Network, features: np.ndarray) -> None:
    trust = FittedTrust(
        Temperature(1.0, 0.9, 1.1, 40, None),
        Threshold(0.8, 0.95, 40, None),
        Novelty(_NOVELTY, 1, 0.95, 40, len(features)),
    )
    seen = {"train_images": len(features)}
    artifact = Artifact(classes, ARCH, "none", DEPTH, _PREPROCESSING, provenance=seen, trust=trust)
    save_artifact(folder, artifact, network, features)
