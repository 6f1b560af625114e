"""Presets that are said to keep labels keep a trained reader's accuracy, and those that are refused do not.

The digits' reader is a support vector machine on raw pixels. It is trained on digits that were moved by code of this
test's own (scipy), not by the policies: it is used to small movements, and knows nothing of mirrored digits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from graft.augmentation.domains import DOMAINS, check_domain
from graft.augmentation.policies import POLICIES, augment_batch
from graft.augmentation.policy_config import PolicyConfig, build_policy, default_policies, parse_policies
from graft.core.config import parse_params
from graft.core.errors import ConfigError

SIZE, COPIES = 16, 3
# How much of the accuracy a preset may cost that is said to keep labels.
MARGIN = 0.08

Read = Callable[[np.ndarray], np.ndarray]


def read(policy: Any) -> PolicyConfig:
    values = {"zoo": {"candidates": ["resnet18"]}, "augment": {"policy": policy}}
    return parse_policies(parse_params(values, "p").augment)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training and test images, uint8 (n, 16, 16, 3), and labels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    small = [Image.fromarray((image * 255 / 16).astype(np.uint8)) for image in data.images]
    images = np.stack(
        [np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC).convert("RGB")) for image in small]
    )
    train, test = train_test_split(
        np.arange(len(images)), train_size=800, test_size=300, random_state=0, stratify=data.target
    )
    return images[train], data.target[train], images[test], data.target[test]


@pytest.fixture(scope="module")
def accuracy(digits: tuple[np.ndarray, ...]) -> Callable[[PolicyConfig], float]:
    """The reader's accuracy on test images that were varied."""
    from sklearn.svm import SVC

    train, labels, test, truth = digits
    rng = np.random.default_rng(0)
    moved = [_moved(image, rng) for _ in range(COPIES) for image in train[..., 0]]
    x = np.concatenate([train[..., 0], np.stack(moved)]).reshape(-1, SIZE * SIZE) / 255
    reader = SVC(C=10, gamma=10 / SIZE**2).fit(x, np.tile(labels, COPIES + 1))

    def score(choice: PolicyConfig) -> float:
        varied = augment_batch(build_policy(choice, SIZE), torch.from_numpy(test), range(len(test)))
        return float(reader.score(varied[..., 0].numpy().reshape(-1, SIZE * SIZE) / 255, truth))

    return score


def _moved(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turned by 15 degrees at most, sheared by 12, scaled by 20%, shifted by 10%: by scipy's affine map."""
    from scipy.ndimage import affine_transform

    turn, slant = np.deg2rad(rng.uniform(-15, 15)), np.tan(np.deg2rad(rng.uniform(-12, 12)))
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = turned @ np.array([[1, 0], [slant, 1]]) / rng.uniform(0.8, 1.2)
    middle = np.full(2, (SIZE - 1) / 2)
    offset = middle - matrix @ middle + rng.uniform(-0.1, 0.1, 2) * SIZE
    return affine_transform(image.astype(np.float64), matrix, offset, order=1)


def _limits(*kinds: str) -> dict[str, float]:
    return {kind: DOMAINS["digits"].limits[kind].most for kind in kinds}


@pytest.mark.parametrize(
    "policy",
    [
        "none",
        "digits",
        # As far as the domain lets policies go.
        {"digits": _limits("rotation", "shear", "shift", "scale")},
        {"geometric": {"mirror": 0, **_limits("rotation", "scale")}},
        {"light": {"mirror": 0, **_limits("crop")}},
        {"standard": {"mirror": 0, **_limits("crop")}},
    ],
    ids=str,
)
def test_what_the_domain_of_digits_allows_keeps_accuracy(
    policy: Any, accuracy: Callable[[PolicyConfig], float]
) -> None:
    choice = read(policy)
    check_domain(choice, "digits")
    plain = accuracy(default_policies("none"))
    assert plain > 0.97
    assert accuracy(choice) > plain - MARGIN


@pytest.mark.parametrize(
    "policy", ["light", "symmetries", "trivialaugment", {"light": {"crop": 0}}, {"digits": {"rotation": 90}}], ids=str
)
def test_what_it_refuses_does_not(policy: Any, accuracy: Callable[[PolicyConfig], float]) -> None:
    """The measure can fail: by several times its margin for digits that are mirrored or turned too far."""
    choice = read(policy)
    with pytest.raises(ConfigError):
        check_domain(choice, "digits")
    assert accuracy(choice) < accuracy(default_policies("none")) - 3 * MARGIN


@pytest.mark.slow
def test_policies_for_photographs_keep_the_accuracy_of_a_trained_head(shared_data: Path) -> None:
    """A linear head on EfficientNet-Lite0's features of ants and bees, trained on plain images."""
    from sklearn.linear_model import LogisticRegression

    from graft.core.settings import Candidate
    from graft.inference.pretrained import load_pretrained
    from graft.modalities.image.preprocessing import Geometry
    from graft.models.weights.locate import WeightsContext

    found = load_pretrained(Candidate("timm:tf_efficientnet_lite0", "bundled"), WeightsContext(Path("x"), True, 0))
    network, size = found.network.eval(), 128
    geometry = Geometry(size, 1.0, "bicubic")

    def load(split: str) -> tuple[torch.Tensor, np.ndarray]:
        paths = sorted((shared_data / "hymenoptera" / split).rglob("*.jpg"))
        pictures = [geometry.apply(Image.open(path).convert("RGB")) for path in paths]
        return torch.from_numpy(np.stack(pictures)), np.array([path.parent.name for path in paths])

    def features(images: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            parts = [list(network.pooled(found.preprocessing.normalise(part)))[-1] for part in images.split(64)]
        return torch.cat(parts).numpy()

    train, test = load("train"), load("val")
    head = LogisticRegression(C=0.01, max_iter=2000).fit(features(train[0]), train[1])
    scores = {}
    for name in [name for name, recipe in POLICIES.items() if recipe.mixing is None]:
        check_domain(default_policies(name), "natural")
        varied = augment_batch(build_policy(default_policies(name), size), test[0], range(len(test[0])))
        scores[name] = float(head.score(features(varied), test[1]))
    print(scores)
    assert scores["none"] > 0.9
    assert {name: score for name, score in scores.items() if score < scores["none"] - 0.1} == {}
