"""The file's columns, and the pictures: the same bytes, every candidate named, and a front as a slow count gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.core.settings import Candidate
from graft.models.flops import Cost
from graft.selection.candidates import Excess
from graft.selection.controls import Control
from graft.selection.failures import Failed
from graft.selection.report.leaderboard import COLUMNS, table
from graft.selection.report.names import name_of_candidate, unique_names
from graft.selection.report.plots import draw_depths, draw_pareto, draw_scores, pareto_front
from tests.selection.conftest import planted

CONTROLS = (Control("majority class", (0.1, 0.2), "control: most frequent"),)
OVER = (Excess("max_params_m", "million parameters", 11.2, 5.0),)


def test_the_columns_are_these_and_read_back_as_they_were(tmp_path: Path) -> None:
    """The contract: best first, with the columns that dvc.yaml plots; whole numbers stay whole beside empty cells."""
    tuned = planted("tuned", 0.9, 1.0, (0.8, 0.9), latency=2.0, knn=0.7, logme=-0.5, published=0.75, seconds=3.21)
    tuned = dataclasses.replace(tuned, whole=Cost(4.0, 3.0))
    failed = Failed(Candidate("broken", "none", size=32), "probing: out of memory", 1.5)
    table([planted("probed", 0.95, 1.0), tuned], [failed], CONTROLS).to_csv(tmp_path / "a.csv", index=False)
    rows = pd.read_csv(tmp_path / "a.csv", keep_default_na=False, na_values=[""])
    assert tuple(rows.columns) == COLUMNS and {"name", "score"} <= set(COLUMNS)
    assert rows["arch"].tolist()[:3] == ["tuned", "probed", "broken"]
    best = rows.iloc[0]
    assert (best["rank"], best["kind"], best["score"], best["depth"], best["blocks"]) == (1, "candidate", 0.85, 2, 3)
    assert best["finetuned_sd"] == pytest.approx(np.std([0.8, 0.9], ddof=1), abs=1e-4)
    assert best["finetuned_se"] == pytest.approx(np.std([0.8, 0.9], ddof=1) / np.sqrt(2), abs=1e-4)
    assert best["probe_sd"] == pytest.approx(0.02) and best["fold_scores"] == "0.8000 0.9000"
    assert (best["knn"], best["logme"], best["imagenet_top1"], best["seconds"]) == (0.7, -0.5, 0.75, 3.2)
    assert (best["saved_params_m"], best["saved_gmacs"]) == (3.0, 2.0)
    assert (best["latency_ms"], best["latency_ms_low"], best["latency_ms_high"]) == pytest.approx((2.0, 1.8, 2.4))
    assert (best["images_per_s"], best["memory_mb"]) == (500.0, 10.0)
    text = (tmp_path / "a.csv").read_text().splitlines()
    assert text[1].startswith('1,"tuned (none, 32 px)",0.85,')
    assert (
        text[3].startswith(',"broken (none, 32 px)",,,accuracy,candidate,broken,none,32,')
        and "out of memory" in text[3]
    )
    assert text[4].startswith(",majority class,0.15,0.05,accuracy,control,")


def test_names_that_would_be_the_same_are_told_apart_by_depth() -> None:
    assert unique_names(["a (none)", "b (none)", "a (none)"], ["auto", "1", "last"]) == [
        "a (none, depth auto)",
        "b (none)",
        "a (none, depth last)",
    ]
    assert name_of_candidate(Candidate("timm:x", "folder/some.pth")) == "x (some.pth)"


POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8)


@given(POINTS)
def test_the_front_is_what_no_other_beats(points: list[tuple[int, int]]) -> None:
    front = pareto_front([(float(cost), float(score)) for cost, score in points])
    beaten = {
        place
        for place, (cost, score) in enumerate(points)
        if any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points)
    }
    assert {points[place] for place in front} == {points[place] for place in range(len(points)) if place not in beaten}
    assert len({points[place] for place in front}) == len(front)
    costs = [points[place][0] for place in front]
    assert costs == sorted(costs)


def test_pictures_are_the_same_for_the_same_results(tmp_path: Path) -> None:
    results = [
        planted("low", 0.5, 1.0, latency=1.0),
        planted("high", 0.9, 1.0, (0.9, 0.9), latency=2.0),
        planted("over", 0.95, 1.0, latency=3.0, excess=OVER),
    ]
    drawings = (
        lambda path: draw_scores(results, CONTROLS, path),
        lambda path: draw_depths(results, path),
        lambda path: draw_pareto(results, path),
    )
    for draw in drawings:
        draw(tmp_path / "a.svg")
        draw(tmp_path / "b.svg")
        text = (tmp_path / "a.svg").read_bytes()
        assert text == (tmp_path / "b.svg").read_bytes()
        assert all(f"{name} (none, 32 px)".encode() in text for name in ("low", "high", "over"))
    draw_scores(results, CONTROLS, tmp_path / "a.svg")
    assert b"majority class" in (tmp_path / "a.svg").read_bytes()
    draw_pareto(results, tmp_path / "a.svg")
    assert all(
        word in (tmp_path / "a.svg").read_bytes() for word in (b"Pareto front", b"chosen", b"over a limit", b"ms")
    )


@pytest.mark.parametrize("count", [1, 12, 40])
def test_many_candidates_and_one_are_drawn(tmp_path: Path, count: int) -> None:
    results = [planted(f"candidate-{number}", 0.5 + number / 100, 1.0, latency=1.0 + number) for number in range(count)]
    for draw in (draw_depths, draw_pareto):
        draw(results, tmp_path / "a.svg")
        assert b"candidate-0 (" in (tmp_path / "a.svg").read_bytes() or count > 12


def test_without_times_the_plot_says_so(tmp_path: Path) -> None:
    draw_pareto([planted("a", 0.9, 1.0, measured=None)], tmp_path / "a.svg")
    assert b"no candidate was timed" in (tmp_path / "a.svg").read_bytes()
