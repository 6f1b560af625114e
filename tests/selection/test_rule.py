"""The choosing rule on planted results, and what the leaderboard says of them."""

from __future__ import annotations

import dataclasses

from graft.core.settings import Candidate
from graft.metrics.scorer import scorer
from graft.selection.best import Criterion
from graft.selection.candidates import CandidateResult, Excess
from graft.selection.report.leaderboard import table
from graft.selection.rule import choose_winner, finalists, ranked, reasons

from .conftest import planted as _result

OVER = (Excess("max_params_m", "million parameters", 11.2, 5.0),)


CHEAP = Criterion(rule="cheap")


def _three() -> tuple[CandidateResult, CandidateResult, CandidateResult]:
    """The best, one that may be as good and serves cheaper, and one that is worse on every fold and cheaper yet."""
    best = _result("best", 0.90, 4.0, (0.90, 0.94, 0.92))
    cheap = _result("cheap", 0.89, 1.0, (0.89, 0.95, 0.91))
    return best, cheap, _result("worse", 0.88, 0.1, (0.85, 0.89, 0.87))


def test_the_best_mean_or_the_cheapest_that_may_be_as_good() -> None:
    best, cheap, worse = _three()
    assert choose_winner([worse, best, cheap]) is best
    assert choose_winner([worse, best, cheap], CHEAP) is cheap
    assert choose_winner([worse, best], CHEAP) is best


def test_only_finalists_can_win() -> None:
    probe_only = _result("probe-only", 0.99, 0.1)
    tuned = _result("tuned", 0.90, 4.0, (0.9, 0.9, 0.9))
    assert choose_winner([probe_only, tuned]) is tuned
    assert finalists([tuned, probe_only], 1) == [probe_only]


def test_what_has_no_weights_is_a_finalist_only_where_there_is_no_other() -> None:
    blank = _result("blank", 0.99, 0.1)
    other = _result("other", 0.98, 0.1)
    own = dataclasses.replace(_result("own", 0.5, 4.0), candidate=Candidate("own", "DEFAULT"))
    assert finalists([blank, own, other], 2) == [own]
    assert finalists([blank, other], 1) == [blank] and finalists([other, blank], 2) == [blank, other]
    # One with weights that is over a limit cannot win, so it is no other.
    assert finalists([blank, dataclasses.replace(own, excess=OVER)], 1) == [blank]
    won = dataclasses.replace(_result("own", 0.5, 4.0, (0.6, 0.6)), candidate=own.candidate)
    assert ranked([blank, won]) == [won, blank] and choose_winner([blank, won]) is won
    assert reasons([blank, won]) == [
        "no finalist: it has no weights to start from",
        "chosen: there was no other to choose from",
    ]


def test_order_does_not_matter_and_equals_go_to_the_cheaper() -> None:
    first, second = _result("first", 0.9, 2.0, (0.9, 0.9)), _result("second", 0.9, 1.0, (0.9, 0.9))
    assert choose_winner([first, second]) is choose_winner([second, first]) is second
    assert [item.candidate.arch for item in ranked([first, second])] == ["second", "first"]


def test_every_row_says_why() -> None:
    best, cheap, worse = _three()
    out = _result("out", 0.5, 0.1)
    assert reasons([best, cheap, worse, out], CHEAP) == [
        "the best mean accuracy 0.920, but dearer to serve (4 GMACs)",
        "chosen: the cheapest to serve of those whose paired difference to the best mean accuracy (0.920; its own is "
        "0.917) may be chance (select.rule: cheap)",
        "its mean accuracy 0.870 is 5.0 points behind the best (0.920), which is more than chance",
        "no finalist: its linear probe had accuracy 0.500",
    ]
    assert reasons([best, cheap, worse, out]) == [
        "chosen: the best mean accuracy over the folds, of equals the cheapest to serve (select.rule: accurate)",
        "its mean accuracy 0.917 is 0.3 points behind the best (0.920), which may be chance",
        "its mean accuracy 0.870 is 5.0 points behind the best (0.920), which is more than chance",
        "no finalist: its linear probe had accuracy 0.500",
    ]


def test_a_loss_is_chosen_by_and_shown_as_people_read_it() -> None:
    """Scores are negative losses: the one nearest to zero wins, and what is written is above zero."""
    by = Criterion(scorer("log_loss"))
    good = _result("good", -0.3, 1.0, (-0.2, -0.3, -0.4))
    bad = _result("bad", -0.9, 0.5, (-0.8, -0.9, -1.0))
    assert choose_winner([bad, good], by) is good
    rows = table([bad, good], by=by)
    assert list(rows["arch"]) == ["good", "bad"] and list(rows["metric"]) == ["log_loss", "log_loss"]
    assert rows["score"].tolist() == [0.3, 0.9] and rows["probe_mean"].tolist() == [0.3, 0.9]
    assert rows["fold_scores"][0] == "0.2000 0.3000 0.4000"
    assert rows["why"].tolist() == [
        "chosen: the best mean log loss over the folds, of equals the cheapest to serve (select.rule: accurate)",
        "its mean log loss 0.900 is 0.600 nats behind the best (0.300), which is more than chance",
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
    assert choose_winner([over, fits]) is fits
    assert ranked([over, fits]) == [fits, over]
    assert reasons([over, fits]) == [
        "over a limit, so it cannot win: 11.2 million parameters, 6.2 more than select.max_params_m (5) allows",
        "chosen: there was no other to choose from",
    ]


def test_all_scores_equal_go_to_the_cheapest() -> None:
    rows = [_result(name, 0.5, cost, (0.5, 0.5, 0.5)) for name, cost in (("a", 3.0), ("b", 1.0), ("c", 2.0))]
    assert choose_winner(rows).candidate.arch == "b"
    assert [item.candidate.arch for item in ranked(rows)] == ["b", "c", "a"]
    said = reasons(rows)
    assert said[1].startswith("chosen: the best mean accuracy over the folds")
    assert said[0] == "accuracy 0.500 as the winner, but dearer to serve (3 GMACs)"
