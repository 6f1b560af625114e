"""How like the target the source is, by the winner's features: what stands beside the verdict on transfer.

Two figures, because for published weights there are no source images:

* The proxy A-distance, where source images are at hand: ``2 (1 - 2 e)``, with e the cross-validated error of a linear
  rule that tells source images from target images by the pretrained network's features (Ben-David, Blitzer, Crammer and
  Pereira, "Analysis of Representations for Domain Adaptation", NIPS 2006). 0: they cannot be told apart; 2: always.
* What the features know that pixels do not: cross-validated accuracy of a linear head on the frozen features minus that
  of the same head on the pixels, over the same folds, with the interval of :mod:`graft.stats.corrected_ttest`. A source
  that is of no use to the target gives features no better than pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.determinism import derive_seed
from graft.metrics.scorer import ACCURACY, Scorer
from graft.selection.probes.probe import LinearProbe
from graft.stats.corrected_ttest import corrected_interval
from graft.tasks.base import LinearHead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.selection.candidates import CandidateResult
    from graft.selection.inputs import SelectionInputs

    Features = NDArray[np.float32]

SIMILARITY_FILE = "similarity.json"
SPLITS = 5
# Up to which distance the source is called what.
_KINDS = ((0.5, "near to"), (1.5, "akin to"), (2.0, "far from"))


def a_distance(
    source: Features, target: Features, seed: int, head: LinearHead, groups: NDArray[Any] | None = None
) -> float:
    """The proxy A-distance in [0, 2] of source (n, d) and target (m, d) features; as many of each are taken.

    An error above one half, which is chance, counts as one half.

    Args:
        source: features of source images.
        target: features of target images.
        seed: draws the images and the folds.
        head: the linear rule.
        groups: near duplicates among the target images (m,), which stay in one fold: else a copy would tell the side.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    count = min(len(source), len(target))
    random = np.random.default_rng(derive_seed(seed, "similarity") % 2**32)
    few = [np.sort(random.permutation(len(side))[:count]) for side in (source, target)]
    features, sides = np.concatenate([source[few[0]], target[few[1]]]), np.repeat(np.arange(2), count)
    ours = np.arange(count) if groups is None else np.unique(groups[few[1]], return_inverse=True)[1]
    together = np.concatenate([np.arange(count), count + ours])
    folds = np.empty(2 * count, dtype=np.int64)
    most = min(SPLITS, len(np.unique(ours)))
    splitter = StratifiedGroupKFold(most, shuffle=True, random_state=derive_seed(seed, "sides") % 2**32)
    for number, (_, part) in enumerate(splitter.split(features, sides, together)):
        folds[part] = number
    right = float(np.mean(LinearProbe(sides, folds, head, 2, together, seed).fold_scores(features)))
    return max(0.0, 2 * (2 * right - 1))


def over_pixels(features: tuple[float, ...], pixels: tuple[float, ...], scorer: Scorer = ACCURACY) -> dict[str, Any]:
    """Score by fold of a head on features and on pixels -> the means, and by what features are better."""
    differences = [ours - theirs for ours, theirs in zip(features, pixels, strict=True)]
    interval = corrected_interval(differences, 1 / (len(differences) - 1), scorer.metric.high)
    return {
        "metric": scorer.metric.name,
        "features": scorer.shown(float(np.mean(features))),
        "pixels": scorer.shown(float(np.mean(pixels))),
        "features_over_pixels": float(np.mean(differences)),
        "features_over_pixels_ci95": interval.pair(),
    }


def in_words(distance: float | None, gain: Mapping[str, Any], scorer: Scorer = ACCURACY, noun: str = "pixels") -> str:
    """What the figures mean; ``noun`` is what samples are made of."""
    low, high = gain["features_over_pixels_ci95"]
    worth = f"{scorer.gap(gain['features_over_pixels'], '+')} of {scorer.name} over {noun} (95% interval "
    worth += f"{scorer.gap(low, '+')} to {scorer.gap(high, '+')})"
    meaning = "which may be chance"
    if low > 0:
        meaning = f"so the source knows something of this task that {noun} do not show"
    if high < 0:
        meaning = "so the source leaves out what this task needs"
    says = f"A linear head on the source's features is worth {worth}, {meaning}."
    if distance is None:
        return says
    kind = next(words for most, words in _KINDS if distance <= most)
    return (
        f"By these features a linear rule tells source images from target images in {50 + 25 * distance:.0f} of 100 "
        f"cases (50 is guessing): the source is {kind} the target. {says}"
    )


def similarity_of(winner: CandidateResult, given: SelectionInputs) -> dict[str, Any]:
    """The figures for the winner on the training images; test images stay closed.

    Returns:
        ``a_distance`` (with ``a_distance_reason`` where it is None), ``features_over_pixels`` and its interval, the
        two scores that it is the difference of, and ``says``: what all that means. Where nothing was transferred,
        only ``says``.
    """
    from graft.inference.pretrained import load_pretrained
    from graft.models.weights.locate import source_folder
    from graft.pretraining.source_models import source_features
    from graft.selection.candidates import extractor_for
    from graft.training.compute.devices import device_for

    candidate = winner.candidate
    if candidate.weights == "none":
        return {"says": "The chosen network began without pretrained weights, so there is no source."}
    settings, data, probe = given.settings, given.data, given.linear_probe
    extractor = extractor_for(data.images, winner.preprocessing, given.store, device_for(settings.device))
    scores = probe.scorer
    pixels = probe.fold_scores(winner.preprocessing.plain_features(extractor.images))
    gain = over_pixels(winner.probe.fold_scores, pixels, scores)
    distance: float | None = None
    reason: str | None = "there are no source images for these weights"
    if candidate.weights == "source":
        source = source_features(source_folder(settings.weights.sources, candidate), winner.probe.depth)
        reason = "the source model was made without features of its images; run the stage pretrain again"
        if source is not None:
            target = extractor.block_features(load_pretrained(candidate, settings.weights).network)[winner.probe.depth]
            distance, reason = a_distance(source, target, settings.seed, probe.head, data.groups), None
    says = in_words(distance, gain, scores, winner.preprocessing.baseline.noun)
    return {"a_distance": distance, "a_distance_reason": reason, **gain, "says": says}


def read_similarity(path: Path) -> dict[str, Any] | None:
    """What selection wrote; None where there is none."""
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
