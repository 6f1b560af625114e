"""How like the target the source is: known answers for features that are alike, apart, and in between."""

from __future__ import annotations

import numpy as np
import pytest

from graft.selection.similarity import a_distance, in_words, over_pixels
from graft.stats.corrected_ttest import corrected_interval
from graft.tasks.classification.probes import PROBES

RIDGE = PROBES["ridge"]


def features(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Normal features of 20 dimensions, moved along the first."""
    values = np.random.default_rng(seed).normal(size=(count, 20)).astype(np.float32)
    values[:, 0] += shift
    return values


def test_the_same_distribution_is_near_and_another_is_far() -> None:
    alike = a_distance(features(300, 0), features(300, 1), 0, RIDGE)
    some = a_distance(features(300, 0), features(300, 1, shift=1.5), 0, RIDGE)
    apart = a_distance(features(300, 0), features(300, 1, shift=20), 0, RIDGE)
    assert alike < 0.3 < some < 1.7 < apart
    assert apart == 2.0


def test_between_two_normals_it_is_what_theory_says() -> None:
    """Two unit normals d apart: the best rule is wrong with probability Phi(-d / 2)."""
    from scipy.stats import norm

    found = a_distance(features(2_000, 0), features(2_000, 1, shift=2.0), 0, RIDGE)
    assert found == pytest.approx(2 * (1 - 2 * norm.cdf(-1.0)), abs=0.06)


def test_unequal_numbers_do_not_flatter() -> None:
    """A rule that always says 'source' would be right on 99% of 990 and 10."""
    assert a_distance(features(990, 0), features(40, 1), 0, RIDGE) < 1.0


def test_copies_of_target_images_do_not_tell_the_sides_apart() -> None:
    """Copies in two folds would be told by heart; kept together they tell no more than they are."""
    few = features(12, 1)
    copies = np.repeat(few, 10, axis=0)
    wide = np.random.default_rng(2).normal(size=(120, 200)).astype(np.float32)
    target = np.concatenate([copies, np.repeat(wide[:12], 10, axis=0)], axis=1)
    source = np.concatenate([features(120, 0), wide], axis=1)
    apart = a_distance(source, target, 0, RIDGE)
    assert a_distance(source, target, 0, RIDGE, groups=np.repeat(np.arange(12), 10)) < apart - 0.5


def test_the_head_is_the_one_that_is_given() -> None:
    source, target = features(300, 0), features(300, 1, shift=1.5)
    assert a_distance(source, target, 0, PROBES["logistic"]) != a_distance(source, target, 0, RIDGE)


def test_gain_over_pixels_is_paired_over_folds() -> None:
    found = over_pixels((0.9, 0.8, 0.9, 0.8, 0.9), [0.7, 0.6, 0.8, 0.6, 0.7])
    assert found["features_over_pixels"] == pytest.approx(0.18)
    expected = corrected_interval([0.2, 0.2, 0.1, 0.2, 0.2], 1 / 4).pair()
    assert found["features_over_pixels_ci95"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("distance", "gains", "parts"),
    [
        (0.1, [0.2, 0.21, 0.2], ["52 of 100", "near to the target", "knows something of this task"]),
        (1.0, [0.2, -0.2, 0.0], ["75 of 100", "akin to the target", "may be chance"]),
        (2.0, [-0.2, -0.21, -0.2], ["100 of 100", "far from the target", "leaves out what this task needs"]),
        (
            None,
            [0.2, 0.21, 0.2],
            ["+20.3 points of accuracy over pixels (95% interval +", "knows something of this task"],
        ),
    ],
)
def test_what_it_means_is_said(distance: float | None, gains: list[float], parts: list[str]) -> None:
    said = in_words(distance, over_pixels(tuple(0.5 + gain for gain in gains), [0.5] * 3))
    for part in parts:
        assert part in said
    assert ("images from target images" in said) == (distance is not None)
