"""What training is fed with: augmented images, whoever makes them, and kept views of them behind frozen blocks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from graft.augmentation.policies import augment_batch
from graft.augmentation.policy_config import build_policy, default_policies
from graft.augmentation.transforms import ENLARGEMENT
from graft.features.extraction import frozen_part
from graft.models.zoo.registry import builder_for
from graft.training import inputs
from graft.training.inputs import VIEWS, Augmented, CachedViews, cached_views
from tests.training.small import CLASSES, COUNT, EVERY, LABELS, SIZE, images, tiny

PREPROCESSING = builder_for("resnet18").preprocessing("resnet18", SIZE)
EPOCHS = VIEWS + 1
ROOT = Path(__file__).resolve().parents[2]


def augmented(policy: str = "light", start: int = 2, workers: int | None = None, rows: np.ndarray = EVERY) -> Augmented:
    frozen = frozen_part(tiny(), start).eval() if start else nn.Sequential()
    built, places = build_policy(default_policies(policy), SIZE), np.flatnonzero(rows)
    return Augmented(images(), places, built, PREPROCESSING, frozen, 0, torch.device("cpu"), CLASSES, workers)


def shown(given: Augmented | CachedViews, order: list[tuple[Tensor, int]]) -> list[Tensor]:
    return [batch for batch, _ in given.batches(order, torch.from_numpy(LABELS))]


def test_kept_views_are_what_the_frozen_blocks_make_of_the_augmented_images() -> None:
    source = augmented()
    kept = cached_views(source, EPOCHS)
    assert kept is not None and kept.activations.shape[:2] == (VIEWS, COUNT)
    (whole,) = shown(source, [(torch.arange(COUNT), 3)])
    torch.testing.assert_close(kept.activations[3], whole, rtol=0, atol=1e-5)


def test_every_image_is_shown_all_its_views_in_turn_and_each_begins_with_one_of_its_own() -> None:
    kept = cached_views(augmented(), EPOCHS)
    assert kept is not None
    for image in (0, 7):
        seen = shown(kept, [(torch.tensor([image]), epoch) for epoch in range(VIEWS)])
        own = [kept.activations[view, image] for view in range(VIEWS)]
        order = [next(v for v, value in enumerate(own) if torch.equal(value, batch[0])) for batch in seen]
        assert sorted(order) == list(range(VIEWS))
        again = shown(kept, [(torch.tensor([image]), VIEWS)])
        assert torch.equal(again[0], seen[0])
    assert len(set(kept.first.tolist())) > 1


def test_labels_come_along_with_their_images() -> None:
    kept = cached_views(augmented(rows=np.arange(COUNT) % 2 == 1), EPOCHS)
    assert kept is not None
    labels = torch.from_numpy(LABELS[1::2])
    order = [(torch.tensor([4, 0, 2]), 0)]
    ((_, targets),) = kept.batches(order, labels)
    assert targets.tolist() == labels[[4, 0, 2]].tolist()


@pytest.mark.parametrize(
    ("source", "epochs"),
    [
        (augmented(start=0), EPOCHS),
        (augmented("light"), VIEWS),
        (augmented("mixup"), EPOCHS),
    ],
    ids=["nothing frozen", "as few epochs as views", "batches that are mixed"],
)
def test_no_views_are_kept_where_that_gains_nothing(source: Augmented, epochs: int) -> None:
    assert cached_views(source, epochs) is None


def test_no_views_are_kept_that_take_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = cached_views(augmented(), EPOCHS)
    assert kept is not None
    size = kept.activations.numel() * 4
    for most, fits in ((size, True), (size - 1, False)):
        monkeypatch.setattr(inputs, "MOST_VIEW_BYTES", most)
        assert (cached_views(augmented(), EPOCHS) is not None) is fits


def assert_workers_change_nothing() -> None:
    order = [(torch.arange(5), 0), (torch.tensor([3, 9]), 1), (torch.arange(5, 20), 1)]
    for policy in ("standard", "trivialaugment", "mixup"):
        made = []
        for workers in (0, 2):
            source = augmented(policy, workers=workers)
            before = torch.get_rng_state()
            made.append(shown(source, order))
            assert torch.equal(torch.get_rng_state(), before), "a resumed training needs the global generator as it was"
        assert all(torch.equal(a, b) for a, b in zip(*made, strict=True)), policy


def test_the_number_of_workers_changes_nothing() -> None:
    # In a process of its own: where Prefect ran a flow in this one, its hooks end a forked worker with exit code 1.
    program = f"import {__name__} as module; module.assert_workers_change_nothing()"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_augmentation_seeds_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.manual_seed would: it seeds every device."""

    def refuse(seed: int) -> None:
        raise AssertionError("every GPU was seeded anew")

    monkeypatch.setattr(torch, "manual_seed", refuse)
    policy = build_policy(default_policies("standard"), SIZE)
    assert augment_batch(policy, torch.from_numpy(images()), list(range(COUNT))).shape == (COUNT, SIZE, SIZE, 3)


@pytest.mark.parametrize(
    ("policy", "enlargement"),
    [("standard", ENLARGEMENT), ("light", ENLARGEMENT), ("geometric", 1.0), ("digits", 1.0), ("none", 1.0)],
)
def test_images_are_larger_where_they_are_cropped_and_leave_at_the_size_of_the_network(
    policy: str, enlargement: float
) -> None:
    built = build_policy(default_policies(policy), SIZE)
    assert built.enlargement == enlargement
    side = round(SIZE * enlargement)
    made = augment_batch(built, torch.zeros(2, side, side, 3, dtype=torch.uint8), [0, 1])
    assert made.shape == (2, SIZE, SIZE, 3)


def test_a_usual_crop_of_a_larger_image_is_not_enlarged() -> None:
    """A line of single pixels stays as sharp as it is: what is enlarged turns grey."""
    built = build_policy(default_policies("standard"), SIZE)
    side = round(SIZE * ENLARGEMENT)
    board = (np.indices((side, side)).sum(0) % 2 * 255).astype(np.uint8)
    large = torch.from_numpy(np.repeat(board[:, :, None], 3, axis=2))[None]
    # Downsampled by 1.5 or less, a board of single pixels averages to grey; upsampled, it keeps its black and white.
    seeds = list(range(40))
    made = augment_batch(built, large.expand(40, -1, -1, -1), seeds).float()
    assert float((made.std(dim=(1, 2, 3)) < 60).float().mean()) > 0.6
