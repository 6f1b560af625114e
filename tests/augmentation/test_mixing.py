"""Batch policies: images and labels are mixed in the same shares, under one seed, whatever the batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.augmentation.mixing import BatchMixing
from graft.augmentation.policies import POLICIES
from graft.augmentation.policy_config import build_policy, default_policies

NAMES = [name for name, recipe in POLICIES.items() if recipe.mixing is not None]


def mixing(name: str) -> BatchMixing:
    built = build_policy(default_policies(name), 8).mixing
    assert built is not None
    return built


def flat(count: int, size: int = 8) -> torch.Tensor:
    """Image i is i + 1 all over, so a mixed image tells its shares."""
    return torch.arange(1.0, count + 1).view(-1, 1, 1, 1).expand(-1, 3, size, size).contiguous()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 8, 33])
@pytest.mark.parametrize(("count", "classes"), [(1, 1), (1, 7), (2, 3), (5, 7), (12, 2)])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**63 - 1))
def test_shares_of_labels_are_shares_of_pixels(name: str, size: int, count: int, classes: int, seed: int) -> None:
    images, labels = flat(count, size), torch.arange(count) % classes
    mixed, shares = mixing(name).mix(images, labels, classes, seed)
    assert (mixed.shape, mixed.dtype, shares.shape) == (images.shape, images.dtype, (count, classes))
    assert torch.allclose(shares.sum(dim=1), torch.ones(count))
    assert float(shares.min()) >= 0 and float(mixed.min()) >= 1 - 1e-4 and float(mixed.max()) <= count + 1e-4
    before = torch.roll(torch.arange(count), 1)
    for number in range(count):
        if labels[number] == labels[before[number]]:
            assert float(shares[number, labels[number]]) == pytest.approx(1)
            continue
        own = float(shares[number, labels[number]])
        expected = own * (number + 1) + (1 - own) * (int(before[number]) + 1)
        assert float(mixed[number].mean()) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_one_image_stays_itself_and_none_stays_none(name: str) -> None:
    mixed, shares = mixing(name).mix(flat(1), torch.tensor([2]), 3, 0)
    assert torch.allclose(mixed, flat(1)) and shares.tolist() == [[0, 0, 1]]
    mixed, shares = mixing(name).mix(flat(0), torch.tensor([], dtype=torch.int64), 3, 0)
    assert (len(mixed), shares.shape) == (0, (0, 3))


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides(name: str) -> None:
    labels = torch.arange(6) % 3
    shares = [mixing(name).mix(flat(6, 64), labels, 3, seed)[1] for seed in (1, 1, *range(2, 8))]
    assert torch.equal(shares[0], shares[1])
    assert len({tuple(row.flatten().tolist()) for row in shares}) == 7


@pytest.mark.parametrize("name", NAMES)
def test_what_came_in_is_left_alone(name: str) -> None:
    images, labels = flat(6), torch.arange(6) % 3
    mixing(name).mix(images, labels, 3, 0)
    assert torch.equal(images, flat(6)) and torch.equal(labels, torch.arange(6) % 3)
