"""Every policy of the table: shape, type, range, seeds, odd sizes, and amounts of change that are really kept."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graft.augmentation.policies import POLICIES, Policy, augment_batch
from graft.augmentation.policy_config import PolicyConfig, PolicySpec, build_policy, default_policies
from graft.augmentation.transforms import CHANGES, trivialaugment
from tests.conftest import picture

SINGLE = [name for name, recipe in POLICIES.items() if recipe.mixing is None]
MIXING = [name for name in POLICIES if name not in SINGLE]


def batch(count: int = 5, size: int = 24) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(picture(number, (size, size))) for number in range(count)]))


def policy(name: str, size: int = 24, **values: float) -> Policy:
    defaults = default_policies(name).policies[0].values
    return build_policy(PolicyConfig((PolicySpec(name, {**defaults, **values}),)), size)


def test_the_issue_s_policies_are_there() -> None:
    wanted = {"none", "light", "standard", "geometric", "randaugment", "trivialaugment", "augmix", "mixup", "cutmix"}
    assert wanted <= set(POLICIES)
    assert set(MIXING) == {"mixup", "cutmix"}


@pytest.mark.parametrize("size", [1, 2, 24, 33])
@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_keeps_shape_and_type(name: str, size: int) -> None:
    images = batch(size=size)
    varied = augment_batch(policy(name, size), images, range(5))
    assert (varied.shape, varied.dtype) == (images.shape, torch.uint8)
    assert torch.equal(images, batch(size=size)), "the images that came in were changed"


@pytest.mark.parametrize("name", POLICIES)
def test_only_none_and_batch_policies_leave_single_images_as_they_are(name: str) -> None:
    varied = augment_batch(policy(name), batch(), range(5))
    assert torch.equal(varied, batch()) == (name == "none" or name in MIXING)
    assert policy(name).changes_anything == (name != "none")


@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("name", POLICIES)
def test_a_sample_depends_on_its_pixels_and_seed_alone(name: str, count: int) -> None:
    built, images, seeds = policy(name), batch(5)[:count], [3, 1, 4, 1, 5][:count]
    whole = augment_batch(built, images, seeds)
    alone = [augment_batch(policy(name), images[i : i + 1], seeds[i : i + 1]) for i in range(count)]
    assert torch.equal(whole, torch.cat([images[:0], *alone]))
    assert torch.equal(whole, augment_batch(built, images.flip(0), seeds[::-1]).flip(0))


@pytest.mark.parametrize("name", SINGLE)
def test_unlike_seeds_give_unlike_variants(name: str) -> None:
    varied = augment_batch(policy(name), batch(1).repeat(16, 1, 1, 1), range(16))
    # Two seeds may draw the same: there are but eight symmetries, and the automatic policies have an identity.
    assert len({image.numpy().tobytes() for image in varied}) >= (1 if name == "none" else 4)


@pytest.mark.parametrize("name", POLICIES)
def test_the_global_generator_is_left_as_it_was(name: str) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    built = policy(name)
    augment_batch(built, batch(), range(5))
    if built.mixing is not None:
        built.mixing.mix(batch().permute(0, 3, 1, 2).float(), torch.zeros(5, dtype=torch.int64), 3, 0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", POLICIES)
def test_every_option_is_in_its_range_and_works_at_both_ends(name: str) -> None:
    recipe = POLICIES[name]
    assert recipe.says and "\n" not in recipe.says
    for option, end in itertools.product(recipe.options, ("least", "most")):
        spec = recipe.options[option]
        assert spec.least <= spec.default <= spec.most
        varied = augment_batch(policy(name, 9, **{option: getattr(spec, end)}), batch(2, 9), [0, 1])
        assert (varied.shape, varied.dtype) == ((2, 9, 9, 3), torch.uint8)


@pytest.mark.parametrize("name", POLICIES)
def test_every_change_is_one_that_domains_can_limit(name: str) -> None:
    changes = default_policies(name).changes
    assert set(changes) <= set(CHANGES)
    assert bool(changes) == (name != "none")
    assert all(CHANGES[kind].format(amount) for kind, amount in changes.items())


def _mirrored(name: str, **values: float) -> float:
    """How many of 64 variants have a bar on the left on the right."""
    bar = torch.zeros(1, 24, 24, 3, dtype=torch.uint8)
    bar[:, 6:18, 4:8] = 255
    varied = augment_batch(policy(name, **values), bar.repeat(64, 1, 1, 1), range(64)).float()
    return float((varied[:, :, :12].sum(dim=(1, 2, 3)) < varied[:, :, 12:].sum(dim=(1, 2, 3))).float().mean())


@pytest.mark.parametrize("name", ["light", "standard", "geometric"])
def test_what_is_said_to_mirror_mirrors_and_what_is_not_does_not(name: str) -> None:
    assert 0.25 < _mirrored(name) < 0.75
    assert _mirrored(name, mirror=0) < 0.05
    assert _mirrored("digits") == 0


@given(st.integers(0, 2**63 - 1))
def test_symmetries_only_move_pixels(seed: int) -> None:
    image = batch(1, 7)
    varied = augment_batch(policy("symmetries", 7), image, [seed])[0]
    turned = [torch.rot90(image[0], turns) for turns in range(4)]
    assert any(torch.equal(varied, one) for one in [*turned, *(each.flip(1) for each in turned)])


def _offset(built: Policy, size: int) -> float:
    """The farthest that a dot in the middle is moved along an axis, as a share of the side."""
    dot = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    middle = size // 2
    dot[:, middle - 2 : middle + 2, middle - 2 : middle + 2] = 255
    bright = (augment_batch(built, dot.repeat(128, 1, 1, 1), range(128))[..., 0] > 180).float()
    count, place = bright.sum(dim=(1, 2)), torch.arange(size).float() + 0.5
    assert float(count.min()) > 0, "a dot has left its image"
    rows, columns = bright.sum(dim=2) @ place / count, bright.sum(dim=1) @ place / count
    return float(torch.stack([rows - middle, columns - middle]).abs().max()) / size


@pytest.mark.parametrize("operation", ["TranslateX", "TranslateY"])
@pytest.mark.parametrize("size", [24, 64])
def test_trivialaugment_shifts_small_images_by_a_share_of_them(operation: str, size: int) -> None:
    """torchvision's own 32 pixels would move an image of 32 pixels out of sight, and one of 64 by half."""
    from graft.core.compat.torchvision import v2

    (transform,) = trivialaugment(0).transforms(v2, size)
    transform._get_random_item = lambda space: (operation, space[operation])
    assert 0.08 < _offset(Policy(transform), size) <= 32 / 224 + 0.01


@pytest.mark.parametrize(("shift", "size"), [(0.1, 33), (0.3, 40)])
def test_geometric_shifts_by_what_it_is_told(shift: float, size: int) -> None:
    far = _offset(policy("geometric", size, mirror=0, shift=shift, rotation=0, shear=0, scale=0, blur=0), size)
    assert shift - 0.05 < far <= shift + 0.02


def test_geometric_leaves_no_wedges() -> None:
    """A white image stays white: what moves in from outside is its mirror image, and no grey nor black."""
    white = torch.full((32, 24, 24, 3), 255, dtype=torch.uint8)
    assert int(augment_batch(policy("geometric"), white, range(32)).min()) == 255
    assert int(augment_batch(policy("digits"), white, range(32)).min()) == 0


def test_amounts_of_the_automatic_policies_are_those_of_torchvision() -> None:
    """Its tables of operations are the oracle, so a new version of it that does more is noticed."""
    import math

    from graft.core.compat.torchvision import v2

    known = {"Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast"}
    known |= {"Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"}
    size = 224
    for name, transform, bins, pick in (
        ("randaugment", v2.RandAugment(1, 30), 31, -1),
        ("trivialaugment", v2.TrivialAugmentWide(), 31, -1),
        ("augmix", v2.AugMix(severity=10), 10, -1),
    ):
        space = transform._AUGMENTATION_SPACE
        assert set(space) <= known
        most = {key: float(space[key][0](bins, size, size)[pick]) for key in ("Rotate", "ShearX", "TranslateX")}
        most["Brightness"] = float(space["Brightness"][0](bins, size, size)[pick])
        times = 3 if name == "augmix" else 1
        full = {"randaugment": {"magnitude": 30, "operations": 1}, "augmix": {"severity": 10}}.get(name, {})
        changes = POLICIES[name].changes({"mirror": 0.0, **full})
        assert changes["rotation"] == pytest.approx(times * most["Rotate"])
        assert changes["shear"] == pytest.approx(times * math.degrees(math.atan(most["ShearX"])))
        assert changes["shift"] == pytest.approx(times * max(most["TranslateX"] / size, most["ShearX"] / 2))
        assert changes["brightness"] == pytest.approx(times * most["Brightness"])


def test_seeds_must_match_images() -> None:
    with pytest.raises(ValueError, match="5 images need as many seeds, not 2"):
        augment_batch(policy("light"), batch(), [1, 2])
