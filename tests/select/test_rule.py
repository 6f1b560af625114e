"""The choosing rule on planted results, and what the leaderboard says of them."""

from __future__ import annotations

from graft.select.leaderboard import table
from graft.select.limits import Excess
from graft.select.rule import choose, finalists, ranked, reasons

from .conftest import planted as _result

OVER = (Excess("max_params_m", "million parameters", 11.2, 5.0),)


def test_the_cheapest_within_one_standard_error_of_the_best() -> None:
    best = _result("best", 0.90, 4.0, (0.90, 0.94, 0.92))
    cheap = _result("cheap", 0.89, 1.0, (0.91, 0.91, 0.91))
    worse = _result("worse", 0.88, 0.1, (0.85, 0.85, 0.85))
    assert choose([worse, best, cheap]) is cheap
    assert choose([worse, best]) is best


def test_only_finalists_can_win() -> None:
    probe_only = _result("probe-only", 0.99, 0.1)
    tuned = _result("tuned", 0.90, 4.0, (0.9, 0.9, 0.9))
    assert choose([probe_only, tuned]) is tuned
    assert finalists([tuned, probe_only], 1) == [probe_only]


def test_order_does_not_matter_and_equals_go_to_the_cheaper() -> None:
    first, second = _result("first", 0.9, 2.0, (0.9, 0.9)), _result("second", 0.9, 1.0, (0.9, 0.9))
    assert choose([first, second]) is choose([second, first]) is second
    assert [item.candidate.arch for item in ranked([first, second])] == ["second", "first"]


def test_every_row_says_why() -> None:
    best = _result("best", 0.90, 4.0, (0.90, 0.94, 0.92))
    cheap = _result("cheap", 0.89, 1.0, (0.91, 0.91, 0.91))
    worse = _result("worse", 0.88, 0.1, (0.85, 0.85, 0.85))
    out = _result("out", 0.5, 0.1)
    assert reasons([best, cheap, worse, out]) == [
        "as good as the winner within one standard error, but dearer to serve (4 GMACs)",
        "chosen: within one standard error of the best (0.920) and cheaper to serve",
        "its mean 0.850 is more than one standard error under the best (0.920)",
        "no finalist: its probe scored 0.500",
    ]


def test_the_table_has_a_row_per_candidate_best_first() -> None:
    rows = table([_result("low", 0.5, 1.0), _result("high", 0.9, 1.0, (0.9, 0.9)), _result("mid", 0.7, 1.0)])
    assert list(rows["arch"]) == ["high", "mid", "low"]
    assert list(rows["rank"]) == [1, 2, 3]
    assert rows["finetuned_mean"].notna().tolist() == [True, False, False]


def test_what_is_over_a_limit_cannot_win_and_stands_last() -> None:
    over = _result("over", 0.99, 0.1, excess=OVER)
    fits = _result("fits", 0.80, 4.0, (0.8, 0.8, 0.8))
    assert finalists([over, fits], 2) == [fits]
    assert choose([over, fits]) is fits
    assert ranked([over, fits]) == [fits, over]
    assert reasons([over, fits]) == [
        "over a limit, so it cannot win: 11.2 million parameters, 6.2 more than select.max_params_m (5) allows",
        "chosen: there was no other to choose from",
    ]


def test_all_scores_equal_go_to_the_cheapest() -> None:
    rows = [_result(name, 0.5, cost, (0.5, 0.5, 0.5)) for name, cost in (("a", 3.0), ("b", 1.0), ("c", 2.0))]
    assert choose(rows).candidate.arch == "b"
    assert [item.candidate.arch for item in ranked(rows)] == ["b", "c", "a"]
    said = reasons(rows)
    assert said[1] == "chosen: the best mean, and none within its standard error is cheaper"
    assert said[0] == "as good as the winner within one standard error, but dearer to serve (3 GMACs)"
