"""The search space: one row per hyper-parameter, with its range.

To add one, add a row to ``DIMENSIONS`` under the name that it has in the ``train`` section of params.yaml.
``policy`` is the one that is not there: it stands for ``augment.policy``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graft.core.errors import ConfigError, did_you_mean
from graft.core.settings import Augment, NamedPolicy, Train

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = float | int | str
Values = Mapping[str, Value]
WHERE = "tune.search"
POLICY = "policy"
# The policy that params.yaml has, with its options.
AS_SET = "as set"


@dataclass(frozen=True)
class Dimension:
    """A row of the table: a range of numbers, searched evenly or by orders of magnitude.

    Attributes:
        low: least value.
        high: largest value.
        log: whether equal factors, not equal steps, count as equally far apart.
        whole: whether only whole numbers are meant.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def distribution(self) -> BaseDistribution:
        """Optuna's form of it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def nearest(self, value: Value) -> Value:
        """The value of :meth:`distribution` that is nearest to ``value``; itself where it is one."""
        assert not isinstance(value, str), "a range is one of numbers"
        return type(value)(min(max(value, self.low), self.high))


@dataclass(frozen=True)
class Names:
    """A row of the table whose values are names; what params.yaml has is the first."""

    names: tuple[str, ...]

    def distribution(self) -> BaseDistribution:
        """Optuna's form of it."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution((AS_SET, *self.names))

    def nearest(self, value: Value) -> Value:
        """``value`` itself: it was chosen among the names."""
        return value


DIMENSIONS: dict[str, Dimension | Names] = {
    "learning_rate": Dimension(3e-5, 3e-2, log=True),
    "backbone_lr_ratio": Dimension(0.01, 1.0, log=True),
    "unfreeze": Dimension(0.1, 1.0),
    "epochs": Dimension(1, 100, log=True, whole=True),
    "batch_size": Dimension(8, 128, log=True, whole=True),
    "weight_decay": Dimension(1e-4, 0.3, log=True),
    "label_smoothing": Dimension(0.0, 0.3),
    "dropout": Dimension(0.0, 0.6),
    "layer_decay": Dimension(0.3, 1.0),
    # Of these those that keep the labels of augment.domain.
    POLICY: Names(("none", "light", "standard", "geometric", "digits", "trivialaugment", "mixup", "cutmix")),
}


@dataclass(frozen=True)
class Space:
    """The hyper-parameters that one search varies, by name, for images of a domain."""

    names: tuple[str, ...]
    domain: str = "any"

    def distributions(self) -> dict[str, BaseDistribution]:
        """Name -> Optuna's distribution."""
        return {name: self._row(name).distribution() for name in self.names}

    def nearest(self, values: Values) -> dict[str, Value]:
        """The point of :meth:`distributions` that is nearest to ``values``: current settings may lie outside."""
        return {name: self._row(name).nearest(value) for name, value in values.items()}

    def _row(self, name: str) -> Dimension | Names:
        row = DIMENSIONS[name]
        if name != POLICY or not isinstance(row, Names):
            return row
        from graft.augmentation.domains import allowed_policies

        keeping = allowed_policies(self.domain)
        return Names(tuple(policy for policy in row.names if policy in keeping))

    def defaults(self, train: Train) -> dict[str, Value]:
        """The current settings for what is searched."""
        return {name: AS_SET if name == POLICY else getattr(train, name) for name in self.names}


def apply_values(train: Train, augment: Augment, values: Values) -> tuple[Train, Augment]:
    """The settings with ``values`` of what was searched."""
    of_train = {name: value for name, value in values.items() if name != POLICY}
    name = str(values.get(POLICY, AS_SET))
    policy = augment.policy if name == AS_SET else (NamedPolicy(name),)
    return dataclasses.replace(train, **of_train), dataclasses.replace(augment, policy=policy)  # type: ignore[arg-type]


def search_space(names: Sequence[str], domain: str = "any") -> Space:
    """The space spanned by ``names`` for images of ``augment.domain``.

    Raises:
        ConfigError: a name is unknown, or is given twice.
    """
    for name in names:
        if name not in DIMENSIONS:
            raise ConfigError(f"{name!r} cannot be searched", where=WHERE, remedy=did_you_mean(name, DIMENSIONS))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice!r} is named twice", where=WHERE, remedy="name it once")
    return Space(tuple(names), domain)
