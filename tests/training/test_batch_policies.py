"""Training on mixed batches: targets are shares, the loss is theirs, and only images that are trained on are mixed."""

from __future__ import annotations

import ast
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import graft
from graft.augmentation.mixing import BatchMixing
from graft.augmentation.policies import Policy
from graft.augmentation.policy_config import build_policy, default_policies
from graft.core.settings import Train
from graft.features.cache import ArrayCache
from graft.features.extraction import Extractor
from graft.models.backbone import BackboneParts, Network, Pool
from graft.models.zoo.registry import builder_for
from graft.training.compute.devices import fabric_for
from graft.training.finetune import FineTuningData, TrainingRun, finetune
from graft.training.inputs import Augmented
from graft.training.logits import logits_of
from graft.training.strategies import Stage, scratch_plan
from graft.training.strategies import finetune_plan as finetune_plan
from graft.training.trainer import StageData, random_batches
from tests.training.small import fit_stage

CLASSES, SIZE, COUNT = 3, 16, 24
SETTINGS = dataclasses.replace(Train(), epochs=2, batch_size=8, learning_rate=0.003, label_smoothing=0.0)
PREPROCESSING = builder_for("resnet18").preprocessing("resnet18", SIZE)
LABELS = np.arange(COUNT) % CLASSES
MIXED = ["mixup", "cutmix", "geometric+mixup", "light+cutmix"]


def network() -> Network:
    torch.manual_seed(0)
    widths = ((3, 8), (8, 16))
    blocks = tuple(nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in widths)
    return Network(BackboneParts(blocks, nn.Sequential(Pool("NCHW")), 16, "NCHW"), CLASSES)


def images() -> np.ndarray:
    """Noise in which the brightest channel tells the class, and the top left pixel the image."""
    made = np.random.default_rng(0).integers(0, 60, (COUNT, SIZE, SIZE, 3)).astype(np.uint8)
    for number, label in enumerate(LABELS):
        made[number, :, :, label] += 120
        made[number, 0, 0] = number * 10
    return made


@pytest.fixture
def extractor(tmp_path: Path) -> Extractor:
    return Extractor(images(), "tiny", PREPROCESSING, ArrayCache(tmp_path), torch.device("cpu"))


def inputs(name: str, seed: int = 0) -> Augmented:
    policy = build_policy(default_policies(*name.split("+")), SIZE)
    return Augmented(
        images(), np.arange(COUNT), policy, PREPROCESSING, nn.Identity(), seed, torch.device("cpu"), CLASSES
    )


def batch_of(given: Augmented, indices: Tensor, labels: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
    """One batch by itself; ``labels`` are those of all images."""
    (made,) = given.batches([(indices, epoch)], labels)
    return made


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_mixed_batch_has_shares_for_targets(name: str, count: int) -> None:
    indices = torch.arange(count)
    labels = torch.from_numpy(LABELS)
    x, targets = batch_of(inputs(name), indices, labels, 0)
    assert (x.shape, targets.shape) == ((count, 3, SIZE, SIZE), (count, CLASSES))
    assert torch.allclose(targets.sum(dim=1), torch.ones(count))
    again = batch_of(inputs(name), indices, labels, 0)
    assert torch.equal(x, again[0]) and torch.equal(targets, again[1])
    if count > 1:
        others = [batch_of(inputs(name, seed), indices, labels, epoch)[1] for seed, epoch in ((0, 1), (1, 0), (2, 0))]
        assert any(not torch.equal(targets, other) for other in others)


def test_images_are_varied_first_and_mixed_then() -> None:
    """Mixing what the policy for single images gives, by the shares that the targets tell."""
    indices, labels = torch.arange(6), torch.from_numpy(LABELS)
    plain, same = batch_of(inputs("geometric"), indices, labels, 0)
    mixed, targets = batch_of(inputs("geometric+mixup"), indices, labels, 0)
    assert torch.equal(same, labels[:6])
    own = targets[torch.arange(6), labels[:6]].view(-1, 1, 1, 1)
    assert torch.allclose(mixed, own * plain + (1 - own) * plain.roll(1, 0), atol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_the_loss_is_the_cross_entropy_of_the_shares(name: str, smoothing: float) -> None:
    """Against the formula -sum(t log p) with smoothed targets, for a network that stands still."""
    settings = dataclasses.replace(SETTINGS, label_smoothing=smoothing)
    still, given = network(), inputs(name)
    labels = torch.from_numpy(LABELS)
    stage = Stage("still", 0, 1, 0.0, 0.0, False)
    points = fit_stage(still, stage, StageData(given, labels), settings)
    losses = []
    for indices in random_batches(COUNT, 8, 0, "still", 0):
        x, targets = batch_of(given, indices, labels, 0)
        smoothed = targets * (1 - smoothing) + smoothing / CLASSES
        log_p = torch.log_softmax(logits_of(still.classifier_from(0), x), dim=1)
        losses.append(float(-(smoothed * log_p).sum(dim=1).mean()))
    assert points[0].train_loss == pytest.approx(np.mean(losses), abs=1e-5)


@pytest.mark.parametrize("name", MIXED)
def test_same_seed_same_bytes(name: str, extractor: Extractor) -> None:
    states = []
    for seed in (1, 1, 2):
        policy = build_policy(default_policies(*name.split("+")), SIZE)
        task = FineTuningData(extractor, LABELS, np.ones(COUNT, dtype=bool), policy)
        torch.rand(3)  # what was drawn before does not matter
        states.append(
            finetune(
                network(), finetune_plan(2, SETTINGS), task, TrainingRun(SETTINGS, seed, fabric_for("cpu"))
            ).network
        )
    first, second, other = (list(each.state_dict().values()) for each in states)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_a_network_learns_from_mixed_batches(name: str, extractor: Extractor) -> None:
    settings = dataclasses.replace(SETTINGS, epochs=30, learning_rate=0.02)
    task = FineTuningData(extractor, LABELS, np.ones(COUNT, dtype=bool), build_policy(default_policies(name), SIZE))
    trained = finetune(network(), scratch_plan(2, settings), task, TrainingRun(settings, 0, fabric_for("cpu"))).network
    logits = logits_of(trained.classifier_from(0), PREPROCESSING.normalise(torch.from_numpy(images())))
    assert float((logits.argmax(1).numpy() == LABELS).mean()) > 0.9


@dataclass(frozen=True)
class Recording(BatchMixing):
    """Mixing that keeps a list of what it was given."""

    seen: list[list[int]] = dataclasses.field(default_factory=list)

    def mix(self, images: Tensor, labels: Tensor, classes: int, seed: int) -> tuple[Tensor, Tensor]:
        mean, std = (torch.tensor(values) for values in (PREPROCESSING.mean, PREPROCESSING.std))
        corner = (images[:, :, 0, 0] * std + mean) * 255 / 10
        self.seen.append(corner[:, 0].round().int().tolist())
        return super().mix(images, labels, classes, seed)


def test_only_what_is_trained_on_is_mixed(extractor: Extractor) -> None:
    rows = np.arange(COUNT) >= 6
    mixing = Recording("MixUp", 0.2, {})
    task = FineTuningData(extractor, LABELS, rows, Policy(None, mixing))
    trained = finetune(network(), finetune_plan(2, SETTINGS), task, TrainingRun(SETTINGS, 0, fabric_for("cpu")))
    assert len(mixing.seen) == 2 * 3, "two epochs of 18 images in batches of 8"
    assert sorted(number for batch in mixing.seen[:3] for number in batch) == list(range(6, COUNT))
    assert all(number >= 6 for batch in mixing.seen for number in batch)
    plain = FineTuningData(extractor, LABELS, rows)
    curve = finetune(network(), finetune_plan(2, SETTINGS), plain, TrainingRun(SETTINGS, 0, fabric_for("cpu"))).curve
    assert curve[0] == trained.curve[0], "the head is fitted to plain images"


@pytest.mark.parametrize("package", ["features", "evaluation", "inference", "serving"])
def test_features_evaluation_and_service_know_no_augmentation(package: str) -> None:
    place = Path(graft.__file__).parent / package
    files = sorted(place.rglob("*.py"))
    assert files
    for file in files:
        named = [
            name
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        ]
        assert [name for name in named if name.startswith("graft.augmentation")] == [], file
