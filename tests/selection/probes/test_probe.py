"""Probes: curves, a choice of depth that does not flatter itself, and bad input."""

from __future__ import annotations

import warnings
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ttest_1samp
from sklearn import metrics as sk
from sklearn.model_selection import StratifiedKFold

from graft.core.errors import ConfigError, TrainingError
from graft.core.settings import Rule, Select
from graft.metrics.scorer import scorer
from graft.selection.best import best_by, best_depth, may_be_chance, standard_error
from graft.selection.inputs import head_for
from graft.selection.probes.cross_validation import CrossValidation
from graft.selection.probes.nested_folds import nested_folds
from graft.selection.probes.probe import LinearProbe
from graft.tasks.classification.probes import PROBES
from graft.tasks.registry import CLASSIFICATION

Set = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]


def linear_probe(labels: NDArray[np.int64], folds: NDArray[np.int64], head: str = "ridge", **more: Any) -> LinearProbe:
    return LinearProbe(labels, folds, PROBES[head], int(labels.max()) + 1, **more)


def _data(seed: int, signal: float, count: int = 120) -> Set:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    features = random.normal(size=(count, 12)).astype(np.float32)
    features[:, :3] += signal * np.eye(3)[labels]
    folds = np.empty(count, dtype=np.int64)
    for fold, (_, part) in enumerate(StratifiedKFold(4, shuffle=True, random_state=seed).split(features, labels)):
        folds[part] = fold
    return features, labels, folds


def test_params_yaml_can_name_every_head_and_no_other() -> None:
    named = get_args(get_type_hints(Select)["probe"])
    assert set(named) == set(CLASSIFICATION.probes)


def test_a_depth_is_taken_by_its_neighbours_too() -> None:
    """A peak by itself is passed over for two depths that are nearly as good; of equals the first is taken."""
    curve = [[0.5, 0.5], [0.8, 0.8], [0.5, 0.5], [0.79, 0.79], [0.79, 0.79], [0.6, 0.6]]
    assert (best_by("accurate", curve), best_depth("accurate", curve)) == (1, 4)
    assert best_depth("accurate", [[0.7, 0.7]] * 4) == 0
    assert best_depth("accurate", [[0.7, 0.9]]) == 0
    assert best_depth("accurate", [[0.2], [0.4], [0.9]]) == 2


def test_standard_error_by_hand() -> None:
    assert standard_error([0.8, 0.9, 1.0]) == pytest.approx(0.1 / np.sqrt(3))
    assert standard_error([0.5]) == 0.0


def test_what_may_be_chance_is_the_paired_corrected_interval() -> None:
    """Folds that differ widely, and one network that is better on each of them by about as much: no chance."""
    easy, better = [0.60, 0.75, 0.90, 0.70, 0.85], [0.62, 0.77, 0.92, 0.72, 0.88]
    assert standard_error(better) > 0.05 > np.mean(better) - np.mean(easy)
    assert not may_be_chance(better, easy)
    assert may_be_chance(easy, easy)
    # The plain paired test takes the folds for independent, which their training parts are not.
    ten = [0.0, 0.025, -0.005, 0.02, 0.01] * 2
    assert ttest_1samp(ten, 0).pvalue < 0.05 and may_be_chance(ten, [0.0] * 10)


def test_one_fold_shows_nothing_and_scores_of_other_folds_are_no_pairs() -> None:
    """`select.finetune_folds: 1`, and a finalist for which the time was up."""
    assert may_be_chance([0.9], [0.1]) and may_be_chance([0.9, 0.91, 0.92], [0.1, 0.11])
    assert best_by("cheap", [[0.1], [0.9]]) == 0 and best_by("accurate", [[0.1], [0.9]]) == 1


def test_accurate_takes_the_best_mean_and_cheap_the_first_that_may_be_as_good() -> None:
    best = [0.88, 0.90, 0.92]
    scores = [[0.5, 0.52, 0.5], [0.87, 0.91, 0.89], best, [0.90, 0.90, 0.90]]
    assert (best_by("accurate", scores), best_by("cheap", scores)) == (2, 1)
    # Under the best by the same on every fold: that is no chance, however little it is.
    assert best_by("cheap", [[0.87, 0.89, 0.91], best]) == 1


@pytest.mark.parametrize("rule", ["accurate", "cheap"])
def test_all_scores_equal_is_the_first_depth(rule: Rule) -> None:
    assert best_by(rule, [[0.7, 0.7]] * 4) == 0
    assert best_by(rule, [[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]]) == 0


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1", "log_loss", "roc_auc"])
def test_the_score_is_the_metric_on_each_fold(metric: str) -> None:
    """Against scikit-learn; losses are negative, so that greater is better."""
    features, labels, folds = _data(1, 1.0)
    keep = (labels < 2) | (np.arange(len(labels)) % 4 == 0)  # a rare class, so that the metrics differ
    features, labels, folds = features[keep], labels[keep], folds[keep]
    probe = linear_probe(labels, folds, head="logistic", scorer=scorer(metric)).at_depth([features], 0)
    said = (
        CrossValidation(PROBES["logistic"], features, labels, 3, nested_folds(labels, folds, 0), scorer(metric))
        .run()
        .scores
    )
    by_hand = {
        "accuracy": lambda y, p: sk.accuracy_score(y, p.argmax(1)),
        "balanced_accuracy": lambda y, p: sk.balanced_accuracy_score(y, p.argmax(1)),
        "macro_f1": lambda y, p: sk.f1_score(y, p.argmax(1), average="macro"),
        "log_loss": lambda y, p: -sk.log_loss(y, p, labels=[0, 1, 2]),
        "roc_auc": lambda y, p: sk.roc_auc_score(y, p, multi_class="ovr"),
    }[metric]
    wanted = [by_hand(labels[folds == fold], said[folds == fold]) for fold in range(4)]
    assert probe.fold_scores == pytest.approx(wanted)


def test_ranks_need_no_probabilities_and_losses_do() -> None:
    features, labels, folds = _data(1, 1.0)
    ridge = linear_probe(labels, folds, head="ridge", scorer=scorer("roc_auc")).at_depth([features], 0)
    assert 0.6 < ridge.mean < 1
    for metric, head in {"accuracy": "ridge", "macro_f1": "ridge", "roc_auc": "ridge", "log_loss": "logistic"}.items():
        assert head_for(scorer(metric), "ridge", CLASSIFICATION) is PROBES[head]


def test_a_fold_without_the_metric_is_refused_in_words() -> None:
    with pytest.raises(ConfigError) as refused:
        scorer("roc_auc")(np.zeros(4, dtype=np.intp), np.full((4, 2), 0.5))
    assert refused.value.message() == (
        "ROC AUC cannot be computed on 4 images of a fold: all images are of one class\n"
        "  where: metric\n"
        "  remedy: take another metric, such as accuracy or balanced_accuracy, or fewer folds (select.folds)"
    )


@pytest.mark.parametrize("head", PROBES)
def test_auto_takes_the_depth_with_the_signal(head: str) -> None:
    noise, labels, folds = _data(1, 0.0)
    signal, _, _ = _data(1, 3.0)
    probe = linear_probe(labels, folds, head=head).best_depth([noise, signal, noise])
    assert probe.depth == 1
    assert probe.fold_depths == (1, 1, 1, 1)
    assert probe.mean > 0.9
    assert probe.curve[1] == max(probe.curve)
    scores = linear_probe(labels, folds, head=head).fold_scores(signal)
    assert probe.curve_errors[1] == pytest.approx(standard_error(scores))
    assert probe.fold_scores == scores


def test_a_given_depth_is_the_one_that_is_scored() -> None:
    noise, labels, folds = _data(1, 0.0)
    signal, _, _ = _data(1, 3.0)
    probe = linear_probe(labels, folds).at_depth([signal, noise], 1)
    assert probe.depth == 1
    assert probe.mean < 0.6 < probe.curve[0]


@pytest.mark.parametrize(("head", "seeds", "count"), [("ridge", 20, 12), ("logistic", 4, 4)])
def test_shuffled_labels_stay_at_chance(head: str, seeds: int, count: int) -> None:
    """Features that know labels, and other images' labels: the score must be a third, whatever depth is chosen.

    Of 20 times 120 images chance has a standard error of 0.0096 (0.0215 of 4 times); three of these are allowed. The
    folds are stratified by the shuffled labels, as folds are; else a class that is rarer in the training part is more
    frequent in the fold, and scores fall below chance. The planted fault: the best depth's own score, not nested.
    """
    means, flattered = [], []
    for seed in range(seeds):
        _, labels, folds = _data(seed, 0.0)
        order = np.random.default_rng(seed).permutation(120)
        depths = [_data(100 * seed + depth, 2.0)[0][order] for depth in range(count)]
        probe = linear_probe(labels, folds, seed=seed, head=head).best_depth(depths)
        means.append(probe.mean)
        flattered.append(max(probe.curve))
    interval = 3 * np.sqrt(2 / 9 / (120 * seeds))
    assert np.mean(means) == pytest.approx(1 / 3, abs=interval)
    if count > 4:
        assert np.mean(flattered) > 1 / 3 + 1.5 * interval


def test_a_fold_has_no_say_in_the_depth_it_is_scored_at() -> None:
    """The later depth knows every fold but number 2: fold 2 must be scored at it, and badly.

    The planted fault is to choose by all folds: fold 2 shows that the earlier depth is safer, and gets its good score.
    """
    medium, labels, folds = _data(7, 2.8)
    noise, _, _ = _data(8, 0.0)
    knows = noise + np.where(folds[:, None] == 2, 0, 5 * np.eye(3, 12)[labels]).astype(np.float32)
    probe = linear_probe(labels, folds).best_depth([medium, knows])
    assert probe.depth == 0, "what all folds together choose"
    assert probe.fold_depths[2] == 1
    assert probe.fold_scores[2] < 0.55 < linear_probe(labels, folds).at_depth([medium, knows], 0).fold_scores[2]


@pytest.mark.parametrize("head", PROBES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused_with_their_depth(head: str, value: float) -> None:
    features, labels, folds = _data(0, 1.0)
    broken = features.copy()
    broken[5, 0] = broken[5, 1] = broken[7, 2] = value
    with pytest.raises(TrainingError) as caught:
        linear_probe(labels, folds, seed=0, head=head).best_depth([features, broken])
    assert caught.value.what == "the network's features are not finite for 2 of 120 images"
    assert caught.value.where == "depth 1 of 1"
    assert caught.value.remedy is not None and "weights" in caught.value.remedy


@pytest.mark.parametrize("head", PROBES)
def test_a_class_with_fewer_images_than_folds(head: str) -> None:
    """One image of class 2: in its fold nothing can know the class; no crash, no warning, other folds as good."""
    features, labels, folds = _data(2, 4.0)
    kept = np.flatnonzero((labels != 2) | (np.arange(120) == 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe = linear_probe(labels[kept], folds[kept], head=head).best_depth([features[kept]])
    assert probe.mean > 0.9


@pytest.mark.parametrize("head", PROBES)
def test_constant_features_give_equal_scores_and_the_first_depth(head: str) -> None:
    _, labels, folds = _data(0, 0.0)
    constant = np.full((120, 3), 0.1, np.float32)
    probe = linear_probe(labels, folds, seed=0, head=head).best_depth([constant, constant * 3, constant])
    assert probe.depth == 0
    assert len(set(probe.curve)) == 1
    assert probe == linear_probe(labels, folds, seed=0, head=head).best_depth([constant, constant * 3, constant])


@pytest.mark.parametrize("head", PROBES)
def test_huge_and_tiny_features_are_scored_as_others(head: str) -> None:
    features, labels, folds = _data(0, 2.0)
    wanted = linear_probe(labels, folds, head=head).fold_scores(features)
    for scale in (1e-30, 1e30):
        assert linear_probe(labels, folds, head=head).fold_scores(features * np.float32(scale)) == wanted


def test_an_unknown_head_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="did you mean 'ridge'"):
        head_for(scorer("accuracy"), "rigde", CLASSIFICATION)
