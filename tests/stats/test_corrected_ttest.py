"""The interval over folds and seeds: against the formula written out, its coverage, and what two comparisons decide."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from graft.evaluation.compare.control_folds import (
    FOLDS_FILE,
    FoldComparison,
    FoldPair,
    accuracy_by_fold,
    compare_over_folds,
    read_pairs,
)
from graft.evaluation.compare.transfer import TransferComparison, agreed, compare_with_control
from graft.stats.bootstrap import Interval, Resampling
from graft.stats.corrected_ttest import corrected_interval
from tests.planted_evaluation import named_rightly, sure_of

SHARES = st.floats(-1, 1, allow_nan=False)


def pairs(differences: list[float], folds: int = 5) -> list[FoldPair]:
    """Folds of 20 images, 80 to train on; scores around one half."""
    return [FoldPair(i // folds, i % folds, 80, 20, 0.5 + d / 2, 0.5 - d / 2) for i, d in enumerate(differences)]


@given(st.lists(SHARES, min_size=2, max_size=20), st.floats(0.05, 2))
def test_against_the_formula_written_out(differences: list[float], ratio: float) -> None:
    count = len(differences)
    mean = sum(differences) / count
    variance = sum((d - mean) ** 2 for d in differences) / (count - 1)
    reach = stats.t(count - 1).interval(0.95)[1] * (variance * (1 / count + ratio)) ** 0.5
    found = corrected_interval(differences, ratio)
    assert found.low == pytest.approx(max(-1, mean - reach), abs=1e-9)
    assert found.high == pytest.approx(min(1, mean + reach), abs=1e-9)


@given(st.lists(SHARES, min_size=2, max_size=20))
def test_wider_than_the_t_interval_that_takes_folds_for_independent(differences: list[float]) -> None:
    found = corrected_interval(differences, 0.25)
    if np.std(differences) > 1e-6:
        plain = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
        assert found.low <= max(-1, plain.low) + 1e-9 and found.high >= min(1, plain.high) - 1e-9


def test_more_seeds_do_not_make_more_images() -> None:
    """The width never falls below the second term, however often the same folds are trained again."""
    spread = [0.0, 0.1] * 500
    found = corrected_interval(spread, 0.25)
    assert found.high - found.low > 2 * 1.96 * 0.05 * 0.25**0.5 * 0.99


def test_no_spread_in_one_difference() -> None:
    assert compare_over_folds(pairs([0.2])) is None
    with pytest.raises(ValueError, match="one difference has no spread"):
        corrected_interval([0.2], 0.25)


def test_over_folds_and_seeds() -> None:
    found = compare_over_folds(pairs([0.1, 0.2, 0.3, 0.2, 0.2, 0.1, 0.2, 0.3, 0.2, 0.2]))
    assert found is not None
    assert (found.seeds, found.folds, found.difference) == (2, 5, pytest.approx(0.2))
    expected = corrected_interval([0.1, 0.2, 0.3, 0.2, 0.2] * 2, 20 / 80)
    assert found.interval.pair() == pytest.approx(expected.pair())


def test_the_control_s_scores_pair_with_the_delivered_strategy_s_on_the_same_folds(tmp_path: Path) -> None:
    """In whatever order they were trained; a fold that the strategy was not trained without has no pair."""
    written = pairs([0.1, -0.2, 0.0, 0.3, 0.1, 0.2], folds=3)
    rows = [{name: value for name, value in dataclasses.asdict(pair).items() if name != "transfer"} for pair in written]
    pd.DataFrame(rows[::-1]).to_csv(tmp_path / FOLDS_FILE, index=False)
    by_fold = {0: 0.9, 1: 0.5}
    expected = [dataclasses.replace(pair, transfer=by_fold[pair.fold]) for pair in written[::-1] if pair.fold != 2]
    assert read_pairs(tmp_path, by_fold) == tuple(expected)
    assert read_pairs(tmp_path, {}) == read_pairs(tmp_path / "none", by_fold) == () and compare_over_folds(()) is None


def test_accuracy_by_fold_is_of_one_strategy(tmp_path: Path) -> None:
    """Counted by hand; rows of another strategy would change each figure."""
    said = {"cat": [2.0, 0.0, 1.0, 0.0, 9.0, 9.0], "dog": [0.0, 1.0, 2.0, 1.0, 0.0, 0.0]}
    table = pd.DataFrame({"label": ["cat", "dog", "cat", "dog", "dog", "dog"], "fold": [0, 0, 0, 1, 1, 2]})
    table["strategy"] = ["finetune"] * 4 + ["extract"] * 2
    table.assign(**{f"logit:{name}": values for name, values in said.items()}).to_parquet(tmp_path / "a.parquet")
    assert accuracy_by_fold(tmp_path / "a.parquet", "finetune") == {0: pytest.approx(2 / 3), 1: 1.0}
    assert accuracy_by_fold(tmp_path / "a.parquet", "extract") == {1: 0.0, 2: 0.0}
    assert accuracy_by_fold(tmp_path / "a.parquet", "wise_ft") == {}


def on_test_images(ours: float, control: float) -> TransferComparison:
    labels = np.arange(600) % 3
    random = np.random.default_rng(0)
    models = [sure_of(named_rightly(labels, random.random(600) < share, 3), 3) for share in (ours, control)]
    return compare_with_control(labels, *models, Resampling(np.arange(600), 300, 0))


@pytest.mark.parametrize(
    ("ours", "control", "low", "high", "verdict"),
    [
        (0.9, 0.7, 0.1, 0.3, "helps"),
        (0.9, 0.7, -0.1, 0.3, "undecided"),
        (0.9, 0.7, -0.3, -0.1, "undecided"),
        (0.7, 0.9, -0.3, -0.1, "hurts"),
        (0.7, 0.9, -0.3, 0.1, "undecided"),
        (0.8, 0.8, 0.1, 0.3, "undecided"),
    ],
)
def test_both_comparisons_must_agree(ours: float, control: float, low: float, high: float, verdict: str) -> None:
    alone = on_test_images(ours, control)
    folds = FoldComparison((low + high) / 2, Interval(low, high), seeds=1, folds=5)
    found = agreed(alone, folds)
    assert found.verdict == verdict and found.folds == folds
    assert found.to_json()["folds"]["difference_ci95"] == [low, high]
    if alone.verdict != verdict:
        assert found.reason == (
            f"the test images say that transfer {alone.verdict}, but over 5 folds and 1 seed the difference is "
            f"{folds.difference:+.3f} (95% interval {low:+.3f} to {high:+.3f})"
        )


def test_without_folds_the_test_images_decide() -> None:
    found = on_test_images(0.9, 0.7)
    assert agreed(found, None) is found and found.to_json()["folds"] is None
