"""The choosing rule on planted results, and what the leaderboard says of them."""

from __future__ import annotations

from pathlib import Path

from graft.select.candidates import Result
from graft.select.leaderboard import draw_depths, draw_scores, table
from graft.select.probe import Probe
from graft.select.rule import choose, finalists, ranked, reasons
from graft.settings import Candidate
from graft.zoo.cost import Cost
from graft.zoo.preprocessing import Geometry, Preprocessing

PREPROCESSING = Preprocessing(Geometry(32, 1.0, "bilinear"), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def _result(arch: str, probe: float, gmacs: float, tuned: tuple[float, ...] = ()) -> Result:
    scores = Probe(2, (probe - 0.02, probe, probe + 0.02), (0.2, 0.4, probe))
    return Result(Candidate(arch, "none"), PREPROCESSING, 3, scores, Cost(1.0, gmacs), tuned)


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


def test_pictures_are_the_same_for_the_same_results(tmp_path: Path) -> None:
    results = [_result("low", 0.5, 1.0), _result("high", 0.9, 1.0, (0.9, 0.9))]
    for draw in (draw_scores, draw_depths):
        draw(results, tmp_path / "a.svg")
        draw(results, tmp_path / "b.svg")
        assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
        assert b"high" in (tmp_path / "a.svg").read_bytes()
