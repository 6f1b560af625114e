"""augment.policy as people write it: what it means, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest

from graft.augmentation.policy_config import PolicyConfig, as_yaml, build_policy, parse_policies
from graft.core.config import parse_params
from graft.core.errors import ConfigError


def read(policy: Any) -> PolicyConfig:
    values = {"zoo": {"candidates": ["resnet18"]}, "augment": {"policy": policy}}
    return parse_policies(parse_params(values, "p").augment)


@pytest.mark.parametrize(
    ("written", "picks"),
    [
        ("light", [("light", {"mirror": 0.5, "crop": 0.2})]),
        (["light"], [("light", {"mirror": 0.5, "crop": 0.2})]),
        ("none", [("none", {})]),
        ({"mixup": None}, [("mixup", {"alpha": 0.2})]),
        ({"mixup": {"alpha": 1}}, [("mixup", {"alpha": 1.0})]),
        (
            [{"randaugment": {"magnitude": 5.0}}, "cutmix"],
            [("randaugment", {"mirror": 0.5, "magnitude": 5, "operations": 2}), ("cutmix", {"alpha": 1.0})],
        ),
    ],
)
def test_what_is_written_is_what_is_picked(written: Any, picks: list[tuple[str, dict[str, float]]]) -> None:
    choice = read(written)
    assert [(pick.name, dict(pick.values)) for pick in choice.policies] == picks
    build_policy(choice, 8)


def test_what_is_said_of_a_choice_can_be_read_back() -> None:
    from ruamel.yaml import YAML

    for written in ("light", ["geometric", "mixup"], [{"randaugment": {"magnitude": 4, "mirror": 0}}, "cutmix"]):
        choice = read(written)
        assert read(YAML(typ="safe", pure=True).load(as_yaml(choice))) == choice


SHAPE = "a policy is a name, or one name with its options, such as {randaugment: {magnitude: 9}}\n  where: p"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("standart", "there is no augmentation policy 'standart'\n  where: augment.policy\n  remedy: did you mean 'st"),
        (["light", "mixpu"], "there is no augmentation policy 'mixpu'"),
        (
            {"mixup": {"alfa": 1}},
            "the augmentation policy 'mixup' has no option 'alfa'\n  where: augment.policy\n"
            "  remedy: did you mean 'alpha'?",
        ),
        ({"none": {"x": 1}}, "the augmentation policy 'none' has no option 'x'\n  where: augment.policy\n  remedy: wr"),
        (
            {"randaugment": {"magnitude": 9.5}},
            "the option 'magnitude' of the augmentation policy 'randaugment' cannot be 9.5\n  where: augment.policy\n"
            "  remedy: give a whole number from 0 to 30; the default is 9",
        ),
        ({"mixup": {"alpha": 0}}, "the option 'alpha' of the augmentation policy 'mixup' cannot be 0\n"),
        ({"mixup": {"alpha": True}}, "the option 'alpha' of the augmentation policy 'mixup' cannot be True"),
        ({"mixup": {"alpha": "1"}}, "the option 'alpha' of the augmentation policy 'mixup' cannot be '1'"),
        ({"light": {"crop": float("nan")}}, "the option 'crop' of the augmentation policy 'light' cannot be nan"),
        (["light", "light"], "the augmentation policy 'light' is named twice"),
        (
            ["none", "light"],
            "the augmentation policy 'none' cannot stand beside others\n  where: augment.policy\n"
            "  remedy: write `policy: none`, or `policy: [light]`",
        ),
        (
            ["mixup", "light"],
            "the augmentation policy 'mixup' mixes whole batches, so it comes after what varies single images\n"
            "  where: augment.policy\n  remedy: write `policy: [light, mixup]`",
        ),
        (
            ["light", "mixup", "cutmix"],
            "a batch can be mixed in one way only, not by 'mixup' and 'cutmix'\n  where: augment.policy\n"
            "  remedy: `policy: [light, mixup]` or `policy: [light, cutmix]`",
        ),
        ([], "the key 'augment.policy' cannot be []"),
        (None, "the key 'augment.policy' cannot be None"),
        (3, "the key 'augment.policy' cannot be 3"),
        ([3], f"the key 'augment.policy.0' cannot be 3: {SHAPE}"),
        ({"mixup": 3}, f"the key 'augment.policy.0' cannot be {{'mixup': 3}}: {SHAPE}"),
        (["light", {"a": {}, "b": {}}], f"the key 'augment.policy.1' cannot be {{'a': {{}}, 'b': {{}}}}: {SHAPE}"),
        ([""], "the key 'augment.policy.0.name' cannot be ''"),
    ],
)
def test_a_mistake_is_named(written: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(written)
    assert str(caught.value).startswith(message)
