"""``train.strategy: auto``: the head alone, fine-tuning, or the mean of both; whichever was best on the folds, and why.

What fine-tuning is worth depends on how well the source knows the classes, which no count of images tells: measured
with ImageNet's EfficientNet-Lite0 at 128 px and ten images a class, it gained 8 points on cartoons and lost 1 on
photographs of the same seven classes (benchmarks/RESULTS.md). Where it loses, the mean of both networks' weights gains
over either. So all three are tried on the same folds, and the best mean is delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graft.core.settings import Train
from graft.training.strategies import AUTO, require_strategy

# The share of a perfect probe, chance taken off, from which on fine-tuning is not tried: it could not be shown to gain.
# (accuracy - 1/k) / (1 - 1/k), as in Cohen's kappa for classes of equal size.
NOTHING_TO_GAIN = 0.995


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
) -> StrategyChoice:
    """What is delivered of what was tried: the best mean over the folds; of equals the first, which is cheaper.

    Args:
        train: the settings.
        weights: of the candidate.
        scores: for each strategy that was tried its scores on the same folds, larger is better.
        shown: a score as people read the metric.

    Raises:
        ConfigError: there is no such strategy.
    """
    tried = strategies_to_try(train, weights, None, 0)
    if weights == "none":
        return StrategyChoice("scratch", AUTO, "there are no weights to transfer")
    if train.strategy != AUTO:
        return StrategyChoice(train.strategy, "train.strategy", "params.yaml names it")
    means = {name: float(np.mean(values)) for name, values in scores.items() if name in tried and len(values)}
    if not means:
        return StrategyChoice("finetune", AUTO, "nothing was tried on the folds")
    best = max(means, key=means.__getitem__)
    if len(means) == 1:
        return StrategyChoice(best, AUTO, f"the head alone scored {shown(means[best]):.3f}: nothing to gain")
    figures = ", ".join(f"{NAMES[name]} {shown(mean):.3f}" for name, mean in means.items())
    return StrategyChoice(best, AUTO, f"the best mean over the folds: {figures}")


NAMES = {
    "extract": "head alone",
    "wise_ft": "mean of both weights",
    "finetune": "fine-tuned",
    "scratch": "from scratch",
}
