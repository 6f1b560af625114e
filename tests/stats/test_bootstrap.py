"""The bootstrap against closed forms, against scikit-learn on the very resamples, and where nothing varies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss, recall_score

from graft.metrics.classification import METRICS
from graft.stats import bootstrap
from graft.stats.bootstrap import Interval, Resampling, Z, percentile, strata_of
from tests.planted_evaluation import named_rightly, sure_of


def _case(n: int, share: float, k: int = 4, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    return labels, sure_of(named_rightly(labels, rng.random(n) < share, k), k)


def test_width_of_accuracy_is_the_binomial_one() -> None:
    labels, p = _case(4000, 0.8)
    found = METRICS.intervals(labels, p, Resampling(np.arange(4000), 2000, 0), ["accuracy"])["accuracy"]
    accuracy = (p.argmax(1) == labels).mean()
    error = math.sqrt(accuracy * (1 - accuracy) / 4000)
    assert found is not None and found.method == "bootstrap"
    assert (found.low, found.high) == pytest.approx((accuracy - Z * error, accuracy + Z * error), abs=0.1 * error)


def test_groups_widen_by_the_root_of_their_size() -> None:
    # Every image is there nine times: what looks like 3,600 images is 400.
    labels, p = _case(400, 0.8)
    alone = METRICS.intervals(labels, p, Resampling(np.arange(400), 2000, 0), ["accuracy"])["accuracy"]
    units = np.repeat(np.arange(400), 9)
    again = METRICS.intervals(labels.repeat(9), p.repeat(9, axis=0), Resampling(units, 2000, 0), ["accuracy"])[
        "accuracy"
    ]
    assert alone is not None and again is not None
    assert again.pair() == pytest.approx(alone.pair())
    naive = METRICS.intervals(
        labels.repeat(9), p.repeat(9, axis=0), Resampling(np.arange(3600), 2000, 0), ["accuracy"]
    )["accuracy"]
    assert naive is not None
    assert (again.high - again.low) / (naive.high - naive.low) == pytest.approx(3, rel=0.1)


def test_figures_of_resamples_are_scikit_learns() -> None:
    labels, p = _case(40, 0.6)
    labels[labels == 3] = 0
    labels[0] = 3  # a class of one image, which many resamples miss
    named = p.argmax(1)
    resampling = Resampling(np.arange(40), 25, 3)
    counts = np.concatenate(list(resampling.counts())).astype(int)
    found = METRICS.resampled(labels, p, resampling, tuple(METRICS))
    assert (counts[:, labels == 3].sum(axis=1) == 0).any()
    wanted: dict[str, list[float]] = {"accuracy": [], "macro_f1": [], "balanced_accuracy": [], "log_loss": []}
    for row in counts:
        drawn = np.repeat(np.arange(40), row)
        kept = np.unique(labels[drawn])
        options = {"labels": kept, "average": "macro", "zero_division": 0.0}
        wanted["accuracy"].append((named[drawn] == labels[drawn]).mean())
        wanted["macro_f1"].append(f1_score(labels[drawn], named[drawn], **options))
        wanted["balanced_accuracy"].append(recall_score(labels[drawn], named[drawn], **options))
        wanted["log_loss"].append(log_loss(labels[drawn], p[drawn], labels=range(4)))
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)


def test_every_metric_of_a_resample_is_that_of_the_images_drawn() -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 7, 60)
    p = rng.dirichlet(np.ones(7), 60).round(1) + 0.01 + 0.5 * np.eye(7)[labels] * rng.random((60, 1)).round(1)
    p /= p.sum(axis=1, keepdims=True)  # with many ties
    units = rng.integers(0, 45, 60)
    units = np.unique(units, return_inverse=True)[1]
    resampling = Resampling(units, 20, 3, strata_of(labels, units))
    counts = np.concatenate(list(resampling.counts())).astype(int)[:, units]
    found = METRICS.resampled(labels, p, resampling, tuple(METRICS))
    compared = dict.fromkeys(tuple(METRICS), 0)
    for place, row in enumerate(counts):
        drawn = np.repeat(np.arange(60), row)
        for name, score in METRICS.scores(labels[drawn], p[drawn]).items():
            if score.value is not None:
                assert found[name][place] == pytest.approx(score.value, abs=1e-9), name
                compared[name] += 1
    assert min(compared.values()) > 5, compared


def test_a_metric_without_a_figure_has_no_interval() -> None:
    labels = np.zeros(30, dtype=np.intp)
    found = METRICS.intervals(labels, sure_of(labels, 2), Resampling(np.arange(30), 100, 0))
    assert found["kappa"] is found["roc_auc"] is found["top_3"] is None
    assert found["brier"] is not None and found["brier"].method == "bound"


def test_calibration_error_is_not_pushed_away_from_what_it_is() -> None:
    # Exactly as sure as it is right. A resample is always farther from that than the sample, which is no evidence.
    rng = np.random.default_rng(0)
    held = naive = 0
    for seed in range(40):
        confidence = rng.uniform(0.5, 1, 300)
        labels = (rng.random(300) > confidence).astype(np.intp)
        p = np.stack([confidence, 1 - confidence], axis=1)
        resampling = Resampling(np.arange(300), 200, seed)
        interval = METRICS.intervals(labels, p, resampling, ["calibration_error"])["calibration_error"]
        plain = percentile(
            METRICS.resampled(labels, p, resampling, ["calibration_error"])["calibration_error"], 0, 1, 300
        )
        assert interval is not None and interval.low <= METRICS.score("calibration_error", labels, p).value
        assert plain is not None
        held, naive = held + (interval.low < 0.02), naive + (plain.low < 0.02)
    assert held > 30 and naive < 4


def test_strata_are_classes_and_rare_ones_are_drawn_together() -> None:
    labels = np.array([0] * 12 + [1] * 12 + [2] * 3 + [4])
    assert strata_of(labels, np.arange(28)).tolist() == [0] * 12 + [1] * 12 + [5] * 4
    # Groups of several images: a unit is of the class that most of its images have.
    mixed = np.array([0, 1, 1] * 10)
    assert strata_of(mixed, np.arange(30) // 3).tolist() == [1] * 10
    assert strata_of(np.array([], dtype=np.intp), np.array([], dtype=np.intp)).tolist() == []


def test_resamples_without_the_figure_are_left_out_and_too_many_leave_none() -> None:
    values = np.linspace(0, 1, 101)
    holed = np.concatenate([values, np.full(100, np.nan)])
    assert percentile(holed, 0, 1, 50) == percentile(values, 0, 1, 50)
    assert percentile(np.append(holed, [np.nan] * 2), 0, 1, 50) is None


def test_resamples_are_seeded_and_whole() -> None:
    first, second, other = (np.concatenate(list(Resampling(np.arange(7), 50, seed).counts())) for seed in (0, 0, 1))
    assert (first == second).all() and (first != other).any()
    assert first.shape == (50, 7) and (first.sum(axis=1) == 7).all()


def test_chunks_do_not_lose_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_DRAWS", 30)
    chunks = list(Resampling(np.arange(10), 50, 0).counts())
    assert [len(chunk) for chunk in chunks] == [3] * 16 + [2]
    assert all((chunk.sum(axis=1) == 10).all() for chunk in chunks)


def test_strata_keep_their_size() -> None:
    strata = np.array([0, 0, 0, 1, 1, 2])
    counts = np.concatenate(list(Resampling(np.arange(6), 40, 0, strata).counts()))
    for name, size in ((0, 3), (1, 2), (2, 1)):
        assert (counts[:, strata == name].sum(axis=1) == size).all()


def test_all_right_is_not_taken_for_certain() -> None:
    labels = np.arange(20) % 4
    found = METRICS.intervals(labels, sure_of(labels, 4), Resampling(np.arange(20), 100, 0))
    # Wilson's interval for 20 of 20.
    assert found["accuracy"] == Interval(pytest.approx(20 / (20 + Z**2)), 1.0, "bound")
    assert found["log_loss"] is None


def test_one_image_has_a_wide_interval() -> None:
    found = METRICS.intervals(np.array([1]), sure_of(np.array([1]), 2), Resampling(np.array([0]), 100, 0))
    assert found["accuracy"] is not None
    assert found["accuracy"].low < 0.25 and found["accuracy"].high == 1.0


def test_no_image_has_no_interval() -> None:
    nothing = Resampling(np.array([], dtype=np.intp), 100, 0)
    assert METRICS.intervals(np.array([], dtype=np.intp), np.empty((0, 2)), nothing) == dict.fromkeys(tuple(METRICS))


def test_bound_of_a_difference_that_never_varies() -> None:
    share = Z**2 / (50 + Z**2)
    assert percentile(np.zeros(100), -1, 1, 50) == Interval(pytest.approx(-share), pytest.approx(share), "bound")
    assert percentile(np.ones(100), -1, 1, 50) == Interval(pytest.approx(1 - 2 * share), 1.0, "bound")
