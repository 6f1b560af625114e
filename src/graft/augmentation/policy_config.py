"""Parse ``augment.policy`` of params.yaml: names, order and options are checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graft.augmentation.policies import POLICIES, Policy, PolicyDefinition, PolicyOption
from graft.augmentation.transforms import ENLARGEMENT
from graft.core.errors import ConfigError, did_you_mean
from graft.core.settings import Augment, NamedPolicy

WHERE = "augment.policy"


@dataclass(frozen=True)
class PolicySpec:
    """A policy with a value for each of its options."""

    name: str
    values: Mapping[str, float]

    @property
    def definition(self) -> PolicyDefinition:
        """The policy's row in the table."""
        return POLICIES[self.name]

    @property
    def changes(self) -> dict[str, float]:
        """Kind of change -> largest amount."""
        return self.definition.changes(self.values)


@dataclass(frozen=True)
class PolicyConfig:
    """Policies in the order in which they are applied; at most one is a batch policy, and it is the last."""

    policies: tuple[PolicySpec, ...]

    @property
    def changes(self) -> dict[str, float]:
        """Kind of change -> largest amount, of all policies together."""
        kinds = {kind for pick in self.policies for kind in pick.changes}
        return {kind: sum(pick.changes.get(kind, 0.0) for pick in self.policies) for kind in sorted(kinds)}

    def as_json(self) -> list[dict[str, Any]]:
        """Names and option values in order, for cache keys and winner.json."""
        return [{"name": pick.name, "options": dict(pick.values)} for pick in self.policies]


def parse_policies(settings: Augment) -> PolicyConfig:
    """Parse ``settings.policy``. :mod:`graft.augmentation.domains` checks it against the domain.

    Raises:
        ConfigError: a name or option is unknown, a number is out of range, or a policy stands where it cannot.
    """
    picks = tuple(PolicySpec(item.name, _values(item)) for item in settings.policy)
    _check_places([pick.name for pick in picks])
    return PolicyConfig(picks)


def default_policies(*names: str) -> PolicyConfig:
    """Policies by name, with their default options."""
    return parse_policies(Augment(tuple(NamedPolicy(name) for name in names)))


def single_policy(policy: NamedPolicy) -> PolicyConfig:
    """One policy, with its options."""
    return parse_policies(Augment((policy,)))


def _values(item: NamedPolicy) -> dict[str, float]:
    if item.name not in POLICIES:
        raise ConfigError(
            f"there is no augmentation policy {item.name!r}", where=WHERE, remedy=did_you_mean(item.name, POLICIES)
        )
    known = POLICIES[item.name].options
    for name in item.options:
        if name not in known:
            raise ConfigError(
                f"the augmentation policy {item.name!r} has no option {name!r}",
                where=WHERE,
                remedy=did_you_mean(name, known) if known else f"write {item.name!r} without options",
            )
    return {name: _value(item, name, option) for name, option in known.items()}


def _value(item: NamedPolicy, name: str, option: PolicyOption) -> float:
    value = item.options.get(name, option.default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not option.least <= value <= option.most or (option.whole and value != int(value)):
        raise ConfigError(
            f"the option {name!r} of the augmentation policy {item.name!r} cannot be {value!r}",
            where=WHERE,
            remedy=f"give a {'whole ' if option.whole else ''}number from {option.least:g} to {option.most:g}; "
            f"the default is {option.default:g}",
        )
    return int(value) if option.whole else float(value)


def _check_places(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"the augmentation policy {twice!r} is named twice", where=WHERE, remedy="name it once")
    if "none" in names and len(names) > 1:
        others = [name for name in names if name != "none"]
        raise ConfigError(
            "the augmentation policy 'none' cannot stand beside others",
            where=WHERE,
            remedy=f"write `policy: none`, or `policy: {_listed(others)}`",
        )
    mixing = [name for name in names if POLICIES[name].mixing is not None]
    single = [name for name in names if name not in mixing]
    if len(mixing) > 1:
        raise ConfigError(
            f"a batch can be mixed in one way only, not by {' and '.join(map(repr, mixing))}",
            where=WHERE,
            remedy=" or ".join(f"`policy: {_listed([*single, name])}`" for name in mixing),
        )
    if mixing and names[-1] != mixing[0]:
        raise ConfigError(
            f"the augmentation policy {mixing[0]!r} mixes whole batches, so it comes after what varies single images",
            where=WHERE,
            remedy=f"write `policy: {_listed([*single, *mixing])}`",
        )


def _listed(names: Iterable[str]) -> str:
    return f"[{', '.join(names)}]"


def as_yaml(choice: PolicyConfig) -> str:
    """The policies as one line of params.yaml, without options at their defaults."""
    written = [_pick_as_yaml(pick) for pick in choice.policies]
    return written[0] if len(written) == 1 else _listed(written)


def _pick_as_yaml(pick: PolicySpec) -> str:
    told = {name: value for name, value in pick.values.items() if value != pick.definition.options[name].default}
    inner = ", ".join(f"{name}: {value:g}" for name, value in told.items())
    return f"{{{pick.name}: {{{inner}}}}}" if told else pick.name


def build_policy(choice: PolicyConfig, size: int) -> Policy:
    """Build the transforms of parsed policies for images of ``size`` x ``size`` pixels."""
    parts = [step for pick in choice.policies for step in pick.definition.steps(pick.values)]
    mixings = [pick.definition.mixing(pick.values) for pick in choice.policies if pick.definition.mixing is not None]
    if not parts:  # no reason to import torchvision, which takes 2 s
        return Policy(mixing=mixings[0] if mixings else None)
    from graft.core.compat.torchvision import v2

    transforms = [transform for step in parts for transform in step.transforms(v2, size)]
    enlargement = ENLARGEMENT if parts[0].changes.get("crop") else 1.0
    return Policy(v2.Compose(transforms) if transforms else None, mixings[0] if mixings else None, enlargement)
