"""Distances of distributions: against independent oracles, against chance, and for any two tables of facts."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from graft.data.validation.drift import CHANCE, POINTS, Numbers, Shares
from graft.data.validation.drift import measure_drift as measure_drift_of
from graft.modalities.image.modality import ImageModality
from tests.data.validation.faults import clean_manifest, summarised

FEATURES = ImageModality.drift_features
measure_drift = partial(measure_drift_of, features=FEATURES)


def numbers(values: list[float] | Any) -> Numbers:
    found = summarised(pd.DataFrame({"brightness": values}))["brightness"]
    assert isinstance(found, Numbers)
    return found


def shares(values: list[str]) -> Shares:
    found = summarised(pd.DataFrame({"mode": values}))["mode"]
    assert isinstance(found, Shares)
    return found


def largest_gap(first: Any, second: Any) -> float:
    """The definition, point by point."""
    return max(
        abs(sum(value <= x for value in first) / len(first) - sum(value <= x for value in second) / len(second))
        for x in [*first, *second]
    )


def largest_event(first: list[str], second: list[str]) -> float:
    """The definition: over every set of categories, the largest difference of its probability."""
    names = sorted({*first, *second})
    return max(
        abs(sum(v in event for v in first) / len(first) - sum(v in event for v in second) / len(second))
        for size in range(len(names) + 1)
        for event in combinations(names, size)
    )


FEW = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.625, 1.0]), min_size=1, max_size=30)
WORDS = st.lists(st.sampled_from(["L", "RGB", "CMYK", "P", "LA"]), min_size=1, max_size=30)


@given(FEW, FEW)
def test_the_distance_of_numbers_is_the_largest_gap_of_their_distribution_functions(
    first: list[float], second: list[float]
) -> None:
    assert numbers(first).distance(numbers(second)) == pytest.approx(largest_gap(first, second), abs=1e-12)


@given(WORDS, WORDS)
def test_the_distance_of_categories_is_the_largest_difference_of_any_event(first: list[str], second: list[str]) -> None:
    assert shares(first).distance(shares(second)) == pytest.approx(largest_event(first, second), abs=1e-12)


@pytest.mark.parametrize("count", [POINTS, POINTS + 1, 5_003])
@pytest.mark.parametrize("kind", ["spread", "ties"])
def test_a_summary_of_quantiles_moves_the_distance_by_little(count: int, kind: str) -> None:
    rng = np.random.default_rng(count)
    first, second = rng.normal(0, 1, count), rng.normal(0.5, 1.2, 2 * count)
    if kind == "ties":
        first, second = np.round(first), np.round(second)
    assert len(numbers(second).points) == POINTS
    # scipy has all the values.
    exact = ks_2samp(first, second, method="asymp").statistic
    assert numbers(first).distance(numbers(second)) == pytest.approx(exact, abs=1 / POINTS)


@pytest.mark.parametrize("sizes", [(10, 10), (40, 500), (300, 300)])
def test_chance_alone_hardly_ever_counts(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(sizes))
    draws, beyond_numbers, beyond_shares = 400, 0, 0
    weights = [0.5, 0.2, 0.1, 0.1, 0.05, 0.05]
    for _ in range(draws):
        first, second = (numbers(rng.normal(size=size)) for size in sizes)
        beyond_numbers += first.distance(second) > first.chance(second)
        one, two = (shares(rng.choice(list("abcdef"), size, p=weights).tolist()) for size in sizes)
        beyond_shares += one.distance(two) > one.chance(two)
    # At most a thousandth is promised: of 400 draws more than 3 would be seen once in 1,300 such tests.
    assert CHANCE == 0.001
    assert beyond_numbers <= 3 and beyond_shares <= 3


def test_the_bound_is_not_so_wide_that_nothing_counts() -> None:
    first, second = numbers(np.zeros(100)), numbers(np.ones(100))
    assert first.distance(second) == 1.0
    assert first.chance(second) == pytest.approx(1.9495 * np.sqrt(0.02), abs=1e-4)
    assert shares(["a", "b"] * 100).chance(shares(["a"] * 200)) == pytest.approx((0.5 + 1.8585) * 0.1, abs=1e-4)


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_every_feature_is_summarised_and_its_change_alone_is_seen(feature: Any) -> None:
    before, after = clean_manifest(), clean_manifest()
    if feature.kind == "category":
        after[feature.columns[0]] = "changed"
    else:
        after = after.assign(**{feature.columns[0]: after[feature.columns[0]] * (1 if len(feature.columns) > 1 else 3)})
        if len(feature.columns) > 1:
            after = after.assign(
                width=after["width"] * 3, height=after["height"] * (3 if "side" in feature.name else 1)
            )
    shifts = {item.feature: item for item in measure_drift(summarised(before), after)}
    assert list(shifts) == [item.name for item in FEATURES]
    assert shifts[feature.name].beyond_chance == 1.0
    moved = {name for name, item in shifts.items() if item.beyond_chance}
    assert moved <= {feature.name, "shorter side"}


def test_equal_tables_are_at_no_distance_in_any_order_of_rows() -> None:
    table = clean_manifest()
    shuffled = table.sample(frac=1, random_state=0).reset_index(drop=True)
    assert {item.distance for item in measure_drift(summarised(table), shuffled)} == {0.0}
    assert summarised(table) == summarised(shuffled)


def test_any_two_tables_will_do_and_features_that_one_lacks_are_skipped() -> None:
    served = pd.DataFrame({"brightness": [0.1, None, 0.1] * 20, "label": ["cat", "dog", "dog"] * 20})
    shifts = measure_drift(summarised(clean_manifest()), served)
    assert [item.feature for item in shifts] == ["brightness", "class"]
    assert (shifts[0].distance, shifts[0].example) == (1.0, 0)
    assert shifts[1].found == "cat 50.0% before, 33.3% now; dog 50.0% before, 66.7% now"
    assert shifts[1].example == 1
    assert shifts[1].beyond_chance == 0.0
    assert measure_drift(summarised(clean_manifest()), served.head(0)) == ()


def test_the_words_say_both_medians_with_their_unit() -> None:
    before, after = clean_manifest(), clean_manifest()
    after["width"] = after["height"] = pd.Series([50] * len(after), dtype="Int64")
    (side,) = [item for item in measure_drift(summarised(before), after) if item.feature == "shorter side"]
    assert side.found == "median 232 px before, 50 px now"
