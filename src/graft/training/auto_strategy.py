"""``train.strategy: auto``: fine-tuning, or what lies between its first and last weights; or the head alone, if better.

What fine-tuning is worth depends on how well the source knows the classes, which no count of images tells: measured
with ImageNet's EfficientNet-Lite0 at 128 px and ten images a class, it gained 4 points on cartoons and lost 2 on
photographs of the same seven classes. The network between the weights that it begins and ends with gained 6 and 2
(benchmarks/RESULTS.md). A fold of few images often says otherwise by chance: so the head alone is delivered only where
it is shown to be better, and of the two others the better one on the folds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.core.settings import Train
from graft.training.strategies import AUTO, require_strategy

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The share of a perfect probe, chance taken off, from which on fine-tuning is not tried: it could not be shown to gain.
# (accuracy - 1/k) / (1 - 1/k), as in Cohen's kappa for classes of equal size.
NOTHING_TO_GAIN = 0.995
# Strategies that train no blocks, and so cost next to nothing once the features are kept.
HEAD_ONLY = ("extract",)
# What is said where the time limit passed.
OUT_OF_TIME = "the time limit passed before blocks were trained as often as was planned"


@dataclass(frozen=True)
class StrategyChoice:
    """The strategy that is taken, by whom, and why."""

    strategy: str
    chosen_by: str
    why: str


def strategies_to_try(train: Train, weights: str, probe: float | None, classes: int) -> tuple[str, ...]:
    """The strategies that are compared on the folds, the cheaper first.

    Args:
        train: the settings.
        weights: of the candidate; ``none`` leaves nothing to transfer.
        probe: its cross-validated accuracy with a linear head, in [0, 1]; None: not known.
        classes: how many classes there are.

    Raises:
        ConfigError: there is no such strategy.
    """
    require_strategy(train.strategy)
    if weights == "none":
        return ("scratch",)
    if train.strategy != AUTO:
        return (train.strategy,)
    perfect = probe is not None and classes > 1 and (probe - 1 / classes) / (1 - 1 / classes) >= NOTHING_TO_GAIN
    return ("extract",) if perfect or not train.epochs else ("extract", "wise_ft", "finetune")


def choose_strategy(
    train: Train,
    weights: str,
    scores: Mapping[str, Sequence[float]],
    shown: Callable[[float], float] = float,
    right: Mapping[str, NDArray[np.bool_]] | None = None,
) -> StrategyChoice:
    """What is delivered of what was tried: the best mean over the folds, of equals the first.

    The head alone is delivered only where it is better by more than two standard errors of the paired difference over
    the held-out images. Let to compete freely, it cost 0.2 to 0.5 points (mean of five data sets,
    benchmarks/RESULTS.md).

    Args:
        train: the settings.
        weights: of the candidate.
        scores: for each strategy that was tried its scores on the same folds, larger is better.
        shown: a score as people read the metric.
        right: for each strategy whether it named each of the same held-out images rightly, bool (m), where accuracy is
            what counts; None: the head alone competes by its mean.

    Raises:
        ConfigError: there is no such strategy.
    """
    tried = strategies_to_try(train, weights, None, 0)
    if weights == "none":
        return StrategyChoice("scratch", AUTO, "there are no weights to transfer")
    if train.strategy != AUTO:
        return StrategyChoice(train.strategy, "train.strategy", "the settings name it")
    means = {name: float(np.mean(values)) for name, values in scores.items() if name in tried and len(values)}
    if not means:
        return StrategyChoice("finetune", AUTO, "nothing was tried on the folds")
    best = max([name for name in means if name not in HEAD_ONLY] or means, key=means.__getitem__)
    if len(means) == 1:
        why = f"the {NAMES[best]} scored {shown(means[best]):.3f}, and nothing else was tried"
        return StrategyChoice(best, AUTO, why)
    figures = ", ".join(f"{NAMES[name]} {shown(mean):.3f}" for name, mean in means.items())
    for head in set(HEAD_ONLY) & set(means):
        by_chance = "" if right is None else " by more than chance"
        if means[head] > means[best] and (right is None or is_better(right[head], right[best])):
            return StrategyChoice(head, AUTO, f"better on the folds{by_chance}: {figures}")
        if means[head] > means[best]:
            figures += "; the head alone may be ahead by chance"
    return StrategyChoice(best, AUTO, f"the best mean over the folds: {figures}")


def is_better(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    """Whether one is right on more of the same images (m) by over two standard errors of the paired difference."""
    differences = one.astype(np.float64) - other
    return bool(differences.mean() > 2 * differences.std() / np.sqrt(len(differences)))


NAMES = {
    "extract": "head alone",
    "wise_ft": "between first and last weights",
    "finetune": "fine-tuned",
    "scratch": "from scratch",
}
