"""Every domain: its limits are of known kinds, what it refuses is named with a remedy, and the remedy works."""

from __future__ import annotations

import re

import pytest
from PIL import Image
from ruamel.yaml import YAML

from graft.augmentation.auto_policy import VisualTraits, detect_domain
from graft.augmentation.domains import DOMAINS, allowed_policies, check_domain
from graft.augmentation.policies import POLICIES
from graft.augmentation.policy_config import PolicyConfig, default_policies, parse_policies, single_policy
from graft.augmentation.transforms import CHANGES
from graft.core.config import load_params, parse_params
from graft.core.errors import ConfigError
from graft.core.settings import Augment
from tests.core.test_config import SHIPPED


def read(policy: object) -> PolicyConfig:
    values = {"zoo": {"candidates": ["resnet18"]}, "augment": {"policy": policy}}
    return parse_policies(parse_params(values, "p").augment)


@pytest.mark.parametrize("name", DOMAINS)
def test_every_domain_is_explained_and_allows_something(name: str) -> None:
    domain = DOMAINS[name]
    assert domain.says and set(domain.limits) <= set(CHANGES)
    assert all(limit.most >= 0 and limit.why for limit in domain.limits.values())
    assert "none" in allowed_policies(name) and len(allowed_policies(name)) > 1


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", DOMAINS)
def test_every_policy_in_every_domain_is_let_through_or_refused_with_a_remedy(name: str, policy: str) -> None:
    for choice in {(policy,), *([(policy, "mixup")] if policy not in ("none", "mixup", "cutmix") else [])}:
        picked = default_policies(*choice)
        over = {kind for kind, limit in DOMAINS[name].limits.items() if picked.changes.get(kind, 0) > limit.most}
        if not over:
            check_domain(picked, name)
            continue
        with pytest.raises(ConfigError) as caught:
            check_domain(picked, name)
        message = str(caught.value)
        assert f"{policy!r}" in message and f"the domain {name!r}" in message
        assert all(DOMAINS[name].limits[kind].why in message for kind in over)
        offered = re.search(r"use one of (.+?); or", message)
        assert offered is not None
        for other in offered[1].split(", "):
            check_domain(default_policies(other), name)
        copied = re.search(r"write `policy: (.+?)`", message)
        if copied is not None:
            check_domain(read(YAML(typ="safe", pure=True).load(copied[1])), name)


@pytest.mark.parametrize("policy", ["light", "standard", "geometric", "symmetries", "randaugment", "augmix", "cutmix"])
@pytest.mark.parametrize("name", ["digits", "text"])
def test_what_would_change_a_character_is_refused(name: str, policy: str) -> None:
    with pytest.raises(ConfigError):
        check_domain(default_policies(policy), name)


def test_the_message_names_change_domain_and_remedy() -> None:
    with pytest.raises(ConfigError) as caught:
        check_domain(default_policies("geometric"), "digits")
    assert str(caught.value) == (
        "the augmentation 'geometric' would not keep the labels of the domain 'digits':\n"
        "  - it mirrors 50% of the images (not allowed): a mirrored digit or letter is another one or none\n"
        "  - it turns by up to 20 degrees (allowed: up to 15 degrees): turned further a 1 becomes a 7, and a 6 in the "
        "end a 9\n"
        "  - it enlarges or shrinks by up to 20% (allowed: up to 15%): a stroke that has left the image is missing\n"
        "  where: augment.policy\n"
        "  remedy: write `policy: {geometric: {mirror: 0, rotation: 15, scale: 0.15}}`; or use one of none, digits, "
        "mixup; or set augment.domain to what the images are"
    )


def test_amounts_of_several_policies_add_up() -> None:
    half = {"rotation": 8, "shift": 0.05, "scale": 0.05, "shear": 5}
    check_domain(read({"digits": half}), "digits")
    with pytest.raises(ConfigError) as caught:
        check_domain(read([{"digits": half}, {"geometric": {**half, "mirror": 0}}]), "digits")
    message = str(caught.value)
    assert "'digits' with 'geometric'" in message
    assert "it turns by up to 16 degrees (allowed: up to 15 degrees)" in message
    assert "{digits: {rotation: 7.5, " in message


def test_an_unknown_domain_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        check_domain(default_policies("light"), "digit")
    assert str(caught.value) == (
        "there is no augmentation domain 'digit'\n  where: augment.domain\n  remedy: did you mean 'digits'?"
    )


def test_the_shipped_settings_keep_the_labels_of_the_built_in_digits() -> None:
    augment = load_params(SHIPPED).augment
    assert augment == Augment(), "else other data would inherit the demo's"
    found = detect_domain("0123456789", [VisualTraits.of(Image.new("RGB", (8, 8)))], augment.domain)
    assert found.domain == "digits", "else the demo would let digits be mirrored"
    check_domain(single_policy(found.policy), found.domain)
