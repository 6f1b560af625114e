"""The bootstrap against closed forms, against scikit-learn on the very resamples, and where nothing varies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss, recall_score

from graft.evaluate import intervals
from graft.evaluate.intervals import (
    HEADLINE,
    Interval,
    Resampling,
    Z,
    headline_intervals,
    paired_difference,
    percentile,
)

from .conftest import named_rightly, sure_of


def _case(n: int, share: float, k: int = 4, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    return labels, sure_of(named_rightly(labels, rng.random(n) < share, k), k)


def test_width_of_accuracy_is_the_binomial_one() -> None:
    labels, p = _case(4000, 0.8)
    found = headline_intervals(labels, p, Resampling(np.arange(4000), 2000, 0))["accuracy"]
    accuracy = (p.argmax(1) == labels).mean()
    error = math.sqrt(accuracy * (1 - accuracy) / 4000)
    assert found is not None and found.method == "bootstrap"
    assert (found.low, found.high) == pytest.approx((accuracy - Z * error, accuracy + Z * error), abs=0.1 * error)


def test_groups_widen_by_the_root_of_their_size() -> None:
    # Every image is there nine times: what looks like 3,600 images is 400.
    labels, p = _case(400, 0.8)
    alone = headline_intervals(labels, p, Resampling(np.arange(400), 2000, 0))["accuracy"]
    units = np.repeat(np.arange(400), 9)
    again = headline_intervals(labels.repeat(9), p.repeat(9, axis=0), Resampling(units, 2000, 0))["accuracy"]
    assert alone is not None and again is not None
    assert again.pair() == pytest.approx(alone.pair())
    naive = headline_intervals(labels.repeat(9), p.repeat(9, axis=0), Resampling(np.arange(3600), 2000, 0))["accuracy"]
    assert naive is not None
    assert (again.high - again.low) / (naive.high - naive.low) == pytest.approx(3, rel=0.1)


def test_figures_of_resamples_are_scikit_learns() -> None:
    labels, p = _case(40, 0.6)
    labels[labels == 3] = 0
    labels[0] = 3  # a class of one image, which many resamples miss
    named = p.argmax(1)
    resampling = Resampling(np.arange(40), 25, 3)
    counts = np.concatenate(list(resampling.counts())).astype(int)
    totals = resampling.totals(intervals._sums(labels, p))
    assert (counts[:, labels == 3].sum(axis=1) == 0).any()
    wanted: dict[str, list[float]] = {name: [] for name in HEADLINE}
    for row in counts:
        drawn = np.repeat(np.arange(40), row)
        kept = np.unique(labels[drawn])
        options = {"labels": kept, "average": "macro", "zero_division": 0.0}
        wanted["accuracy"].append((named[drawn] == labels[drawn]).mean())
        wanted["macro_f1"].append(f1_score(labels[drawn], named[drawn], **options))
        wanted["balanced_accuracy"].append(recall_score(labels[drawn], named[drawn], **options))
        wanted["log_loss"].append(log_loss(labels[drawn], p[drawn], labels=range(4)))
    for name in HEADLINE:
        np.testing.assert_allclose(intervals._FINISH[name](totals, 4), wanted[name], err_msg=name)


def test_resamples_are_seeded_and_whole() -> None:
    first, second, other = (np.concatenate(list(Resampling(np.arange(7), 50, seed).counts())) for seed in (0, 0, 1))
    assert (first == second).all() and (first != other).any()
    assert first.shape == (50, 7) and (first.sum(axis=1) == 7).all()


def test_chunks_do_not_lose_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "_DRAWS", 30)
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
    found = headline_intervals(labels, sure_of(labels, 4), Resampling(np.arange(20), 100, 0))
    # Wilson's interval for 20 of 20.
    assert found["accuracy"] == Interval(pytest.approx(20 / (20 + Z**2)), 1.0, "bound")
    assert found["log_loss"] is None


def test_one_image_has_a_wide_interval() -> None:
    found = headline_intervals(np.array([1]), sure_of(np.array([1]), 2), Resampling(np.array([0]), 100, 0))
    assert found["accuracy"] is not None
    assert found["accuracy"].low < 0.25 and found["accuracy"].high == 1.0


def test_no_image_has_no_interval() -> None:
    nothing = Resampling(np.array([], dtype=np.intp), 100, 0)
    assert headline_intervals(np.array([], dtype=np.intp), np.empty((0, 2)), nothing) == dict.fromkeys(HEADLINE)
    assert paired_difference(np.array([], dtype=bool), np.array([], dtype=bool), nothing) is None


def test_bound_of_a_difference_that_never_varies() -> None:
    share = Z**2 / (50 + Z**2)
    assert percentile(np.zeros(100), -1, 1, 50) == Interval(pytest.approx(-share), pytest.approx(share), "bound")
    assert percentile(np.ones(100), -1, 1, 50) == Interval(pytest.approx(1 - 2 * share), 1.0, "bound")


def test_paired_difference_has_the_paired_width() -> None:
    rng = np.random.default_rng(5)
    first = rng.random(4000) < 0.8
    second = first & (rng.random(4000) < 0.95)  # wrong wherever the first is, and a little more
    found = paired_difference(first, second, Resampling(np.arange(4000), 2000, 0))
    assert found is not None
    gained = first.astype(float) - second
    error = gained.std() / math.sqrt(4000)
    assert found[0] == pytest.approx(gained.mean())
    assert found[1].pair() == pytest.approx([gained.mean() - Z * error, gained.mean() + Z * error], abs=0.15 * error)
    unpaired = math.sqrt(first.var() / 4000 + second.var() / 4000)
    assert found[1].high - found[1].low < 0.5 * 2 * Z * unpaired
