"""Rank correlation and regret against a slow count of pairs, and what is said where there is too little."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.selection.candidates import Excess
from graft.selection.report.proxy_correlation import SCORES, agreements, correlations, sentence, to_json
from tests.selection.conftest import planted

VALUES = st.lists(st.integers(0, 6), min_size=3, max_size=8)


def _tau_b(a: list[int], b: list[int]) -> float:
    """Concordant less discordant pairs over the geometric mean of the pairs that are not tied in each."""
    pairs = list(combinations(range(len(a)), 2))
    signs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in pairs]
    balance = sum(x * y for x, y in signs)
    return float(balance / np.sqrt(sum(x != 0 for x, _ in signs) * sum(y != 0 for _, y in signs)))


def _midranks(values: list[int]) -> np.ndarray:
    return np.array([sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 for x in values])


@given(st.data())
def test_correlations_against_a_slow_count(data: st.DataObject) -> None:
    a = data.draw(VALUES)
    b = data.draw(st.lists(st.integers(0, 6), min_size=len(a), max_size=len(a)))
    rho, tau, reason = correlations([float(x) for x in a], [float(x) for x in b])
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert (rho, tau, reason) == (None, None, "all of them are equal, so there is no order")
        return
    assert reason is None
    assert tau == pytest.approx(_tau_b(a, b))
    assert rho == pytest.approx(np.corrcoef(_midranks(a), _midranks(b))[0, 1])


def _three() -> list:
    return [
        planted("a", 0.90, 1.0, (0.80, 0.80), knn=0.5, logme=-1.0, published=0.7),
        planted("b", 0.80, 2.0, (0.90, 0.90), knn=0.6, logme=-0.5, published=0.8),
        planted("c", 0.70, 3.0, (0.70, 0.70), knn=0.4, logme=-2.0),
    ]


def test_regret_is_what_the_score_s_choice_lacks() -> None:
    found = agreements(_three())
    assert {key: item.first for key, item in found.items()} == {"probe": 0, "knn": 1, "logme": 1, "imagenet": 1}
    assert found["probe"].regret == pytest.approx(0.1) and found["knn"].regret == 0.0
    assert found["probe"].spearman == pytest.approx(0.5) and found["knn"].spearman == pytest.approx(1.0)
    assert found["imagenet"].spearman is None and found["imagenet"].compared == 2
    names = ["first-name", "b", "c"]
    assert sentence(found["probe"], names.__getitem__) == (
        "The linear probe put first-name first, which is 10.0 points of accuracy behind the best that was fine-tuned. "
        "Over 3 fine-tuned candidates Spearman's rank correlation with the fine-tuned accuracy is +0.50, Kendall's "
        "+0.33."
    )
    assert sentence(found["imagenet"], names.__getitem__) == (
        "ImageNet accuracy put b first, and so did fine-tuning. No rank correlation: 2 of the fine-tuned candidates "
        "have this score, and an order needs 3."
    )


def test_equals_go_to_the_cheaper() -> None:
    same = [dataclasses.replace(item, knn=0.5) for item in _three()]
    assert agreements(same)["knn"].first == 0
    assert agreements(same)["knn"].reason == "all of them are equal, so there is no order"


def test_a_choice_that_was_not_fine_tuned_has_no_regret() -> None:
    results = [*_three(), planted("d", 0.6, 0.1, published=0.99)]
    found = agreements(results)["imagenet"]
    assert found.first == 3 and found.regret is None
    assert (
        "what that would have cost is not known: its choice was not fine-tuned; a linear head on it had accuracy 0.600"
        in (sentence(found, ["a", "b", "c", "d"].__getitem__))
    )


def test_what_is_over_a_limit_takes_no_part() -> None:
    results = _three()
    results[0] = dataclasses.replace(results[0], excess=(Excess("max_params_m", "million parameters", 2.0, 1.0),))
    assert agreements(results)["probe"].first == 1


@pytest.mark.parametrize("key", list(SCORES))
def test_every_score_says_so_where_nothing_has_it(key: str) -> None:
    blank = planted("a", 0.9, 1.0, (0.9, 0.9))
    found = to_json(agreements([blank]), ["a"].__getitem__)[key]
    assert set(found) == set(to_json(agreements(_three()), list("abc").__getitem__)[key])
    assert found["spearman"] is None and found["regret"] is None
    assert found["reason"] and found["regret_reason"] and found["said"].endswith(".")


@given(st.permutations(range(3)), st.sampled_from(list(SCORES)))
def test_the_order_of_the_candidates_does_not_matter(order: list[int], key: str) -> None:
    results = _three()
    one, two = agreements(results)[key], agreements([results[place] for place in order])[key]
    assert (one.regret, one.spearman, one.kendall) == (
        two.regret,
        pytest.approx(two.spearman),
        pytest.approx(two.kendall),
    )
    assert two.first is not None and order[two.first] == one.first


def test_pairs_of_the_slow_count() -> None:
    """The oracle by hand: of three pairs two agree and one does not."""
    assert _tau_b([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)
