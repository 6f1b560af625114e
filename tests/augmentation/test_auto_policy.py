"""What the images are, by a sample of them: nothing that could change a label is done where it cannot be told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.augmentation.auto_policy import ENOUGH, VisualTraits, detect_domain, with_augmentation, with_candidates
from graft.augmentation.domains import DOMAINS, exceeds
from graft.augmentation.policy_config import single_policy
from graft.core.config import parse_params
from graft.core.errors import DataError
from graft.core.settings import NamedPolicy
from graft.modalities.image.decode import decode
from graft.models.zoo.default_candidates import image_candidates
from tests.conftest import picture


def photograph(seed: int) -> Image.Image:
    return picture(seed, (120, 90))


def texture(seed: int) -> Image.Image:
    return picture(seed, (120, 90)).convert("L").point(lambda level: 90 + level // 4).convert("RGB")


def glyph(seed: int, ground: int = 0, size: tuple[int, int] = (28, 28)) -> Image.Image:
    levels = np.full(size[::-1], ground, dtype=np.uint8)
    rng = np.random.default_rng(seed)
    top, left = rng.integers(3, size[1] // 2), rng.integers(3, size[0] // 2)
    levels[top : top + size[1] // 3, left : left + size[0] // 3] = 255 - ground
    return Image.fromarray(levels).convert("RGB")


@pytest.mark.parametrize(
    ("images", "classes", "domain", "policy", "why"),
    [
        ([photograph(n) for n in range(9)], ("ant", "bee"), "natural", "standard", "the images are in colour"),
        ([texture(n) for n in range(9)], ("crack", "scratch"), "natural", "light", "the images are grey and of many"),
        ([glyph(n) for n in range(9)], ("alpha", "beta"), "digits", "digits", "the images are grey, in two tones"),
        ([glyph(n, 255) for n in range(9)], ("alpha", "beta"), "digits", "geometric", "the images are grey, in two"),
        (
            [photograph(n) for n in range(9)],
            ("0", "1"),
            "digits",
            "geometric",
            "every class is called by one character",
        ),
        ([glyph(n, 255, (90, 28)) for n in range(9)], ("yes", "no"), "text", "light", "the images are wide"),
    ],
)
def test_what_images_are_told_to_be(
    images: list[Image.Image], classes: tuple[str, ...], domain: str, policy: str, why: str
) -> None:
    found = detect_domain(classes, [VisualTraits.of(image) for image in images], "auto")
    assert (found.domain, found.policy.name) == (domain, policy)
    assert found.why.startswith(why)
    changes = single_policy(found.policy).changes
    assert not exceeds(single_policy(found.policy), DOMAINS[domain])
    if domain != "natural":
        assert "mirror" not in changes
    if policy == "light":
        assert not {"hue", "saturation", "brightness"} & set(changes)


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_domain_has_a_policy_that_it_allows(domain: str) -> None:
    found = detect_domain(("a", "b"), [VisualTraits.of(photograph(0))], domain)
    assert found.domain == domain and found.why == f"augment.domain is {domain}"
    assert not exceeds(single_policy(found.policy), DOMAINS[domain])


@pytest.mark.parametrize(("folder", "domain", "policy"), [("hymenoptera/train", "natural", "standard")])
def test_real_photographs(shared_data: Path, folder: str, domain: str, policy: str) -> None:
    files = sorted((shared_data / folder).rglob("*.jpg"))[::8]
    looks = [VisualTraits.of(decode(file, least_side=ENOUGH)) for file in files]
    found = detect_domain(("ants", "bees"), looks, "auto")
    assert (found.domain, found.policy) == (domain, NamedPolicy(policy))
    assert image_candidates(found.domain, np.median([look.side for look in looks]).item())[0].size == 224


@pytest.mark.parametrize(("side", "size"), [(8, 128), (32, 128), (130, 160), (200, 224), (4000, 224)])
def test_the_input_is_bounded_by_the_images_and_the_weights(side: float, size: int) -> None:
    (only,) = image_candidates("natural", side)
    assert (only.weights, only.depth, only.size) == ("bundled", "auto", size)


def test_what_is_set_is_kept_and_what_is_not_found_yet_is_asked_for(tmp_path: Path) -> None:
    own = parse_params({"zoo": {"candidates": ["x"]}, "augment": {"policy": "none", "domain": "any"}}, "p")
    assert with_candidates(own, tmp_path) == with_augmentation(own, tmp_path) == own
    for ask in (with_candidates, with_augmentation):
        with pytest.raises(DataError, match="what the stage augment found is missing or damaged"):
            ask(parse_params({}, "p"), tmp_path)
