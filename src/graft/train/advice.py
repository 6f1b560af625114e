"""``train.strategy: auto``: from images per class, the probe's score and the depth curve to a strategy, and why.

The rules are the field's rules of thumb, in a table; the first that applies is taken. Few images: a head on frozen
features, for a backbone would learn them by heart. Some: the last blocks too. Many: everything. Features that hardly
err already have nothing to gain from being moved, and can be distorted by it (A. Kumar et al., 2022,
arXiv:2202.10054); features that say little need more retraining than the number of images alone would allow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from graft.settings import Train
from graft.train.plan import AUTO, require_strategy

# Images per class below which there are few, and from which on there are many.
FEW, MANY = 10, 200
# The share of a perfect score over chance that the probe gets: from here on it has nothing to gain, below it says
# little. (accuracy - 1/k) / (1 - 1/k), as in Cohen's kappa for classes of like size.
ALREADY_GOOD, SAYS_LITTLE = 0.99, 0.5


@dataclass(frozen=True)
class Evidence:
    """What is known before the fine-tuning.

    Attributes:
        per_class: training images of the class with the fewest.
        classes: how many classes there are.
        probe: cross-validated accuracy of a linear head on the frozen features, 0 to 1; None: not known.
        curve: the same after each block that is kept, first block first; empty: not known.
        blocks: how many blocks the network has as it is trained.
    """

    per_class: int
    classes: int
    probe: float | None
    curve: tuple[float, ...]
    blocks: int

    @property
    def above_chance(self) -> float | None:
        """The probe's score as a share of a perfect one, chance taken off: 1 perfect, 0 as good as guessing."""
        if self.probe is None or self.classes < 2:
            return None
        return (self.probe - 1 / self.classes) / (1 - 1 / self.classes)

    @property
    def behind_peak(self) -> int:
        """Blocks behind the depth at which the frozen features are best: they fit the source, not this task."""
        return 0 if not self.curve else len(self.curve) - 1 - self.curve.index(max(self.curve))


@dataclass(frozen=True)
class Rule:
    """One row: when it applies, the strategy, and the reason in words."""

    name: str
    applies: Callable[[Evidence], bool]
    strategy: str
    why: str


def _is(value: float | None, test: Callable[[float], bool]) -> bool:
    """False where the value is not known."""
    return value is not None and test(value)


RULES: tuple[Rule, ...] = (
    Rule(
        "features that fit",
        lambda e: _is(e.above_chance, lambda share: share >= ALREADY_GOOD),
        "extract",
        f"a linear head on the frozen features gets {ALREADY_GOOD:.0%} or more of a perfect score above chance",
    ),
    Rule(
        "few images, features that say little",
        lambda e: e.per_class < FEW and _is(e.above_chance, lambda share: share < SAYS_LITTLE),
        "staged",
        f"fewer than {FEW} images of a class, but a linear head gets less than {SAYS_LITTLE:.0%} of a perfect score "
        "above chance, so the last blocks have to move too",
    ),
    Rule("few images", lambda e: e.per_class < FEW, "extract", f"fewer than {FEW} images of a class: the head alone"),
    Rule(
        "many images", lambda e: e.per_class >= MANY, "full", f"{MANY} images or more of every class: everything moves"
    ),
    Rule("some images", lambda e: True, "staged", f"{FEW} to {MANY - 1} images of a class: the last blocks move too"),
)


@dataclass(frozen=True)
class Advice:
    """The strategy that is taken, by whom, and why; ``unfreeze_blocks`` is what ``staged`` unfreezes."""

    strategy: str
    chosen_by: str
    rule: str
    why: str
    unfreeze_blocks: int

    def settings(self, train: Train) -> Train:
        """The settings with what the advice changes."""
        return dataclasses.replace(train, strategy=self.strategy, unfreeze_blocks=self.unfreeze_blocks)


def advise(evidence: Evidence, train: Train) -> Advice:
    """What ``train.strategy`` names, or where it is ``auto`` what the first rule that applies says.

    What lies behind the depth curve's peak is always retrained by ``auto`` where blocks are trained at all: then
    ``staged`` unfreezes so many blocks, or ``train.unfreeze_blocks`` if these are more. What lies before it may stay.

    Raises:
        ConfigError: there is no such strategy.
    """
    require_strategy(train.strategy)
    if train.strategy != AUTO:
        return Advice(train.strategy, "train.strategy", "named", "params.yaml names it", train.unfreeze_blocks)
    rule = next(rule for rule in RULES if rule.applies(evidence))
    behind = evidence.behind_peak
    if rule.strategy != "staged" or behind <= train.unfreeze_blocks:
        return Advice(rule.strategy, AUTO, rule.name, rule.why, train.unfreeze_blocks)
    why = f"{rule.why}; the frozen features are best {behind} blocks before the end, so these are retrained"
    return Advice(rule.strategy, AUTO, rule.name, why, behind)
