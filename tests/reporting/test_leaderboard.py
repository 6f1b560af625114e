"""Selection's leaderboard on the page: few columns first, the rest after, controls marked, failures said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.evaluation.evaluation import Evaluation
from graft.metrics.classification import METRICS
from graft.reporting.blocks import Table
from graft.reporting.html import render_html
from graft.reporting.sections.leaderboard import (
    MOST_CANDIDATES,
    leaderboard_table,
    read_agreement,
    read_leaderboard,
    why_chosen,
)
from tests.planted_evaluation import context_of

HEAD = (
    "rank,name,score,score_se,kind,arch,weights,size,depth,blocks,finetuned_mean,finetuned_se,probe_mean,probe_se,knn,"
    "logme,imagenet_top1,params_m,gmacs,saved_params_m,saved_gmacs,memory_mb,latency_ms,images_per_s,images_per_s_low,"
    "images_per_s_high,seconds,why\n"
)
ROWS = (
    '1,"big (none, 32 px)",0.9612,0.0071,candidate,big,none,32,3,4,0.9612,0.0071,0.95,0.01,0.9,0.5,,11.18,0.037,0,0,'
    "44.9,4.25,100,90,110,12.3,dearer\n"
    '2,"small (source, 32 px)",0.958,0.01,candidate,small,source,32,1,4,0.958,0.01,0.94,0.01,0.9,-0.5,0.751,1,0.5,3,'
    "0.5,4,1.5,200,190,210,3.4,chosen: cheaper\n"
    '3,"third (none, 32 px)",0.6,0.02,candidate,third,none,32,3,4,,,0.6,0.02,0.5,,,1,1,0,0,4,2,300,290,310,1,'
    "no finalist\n"
    ',"fourth (none, 32 px)",,,candidate,fourth,none,32,,,,,,,,,,,,,,,,,,,0.1,failed probing: out of memory\n'
    ",majority class,0.1,0,control,,,,,,,,,,,,,,,,,,,,,,,control: the most frequent\n"
)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    (tmp_path / "a.csv").write_text(HEAD + ROWS)
    board = read_leaderboard(tmp_path / "a.csv")
    assert board is not None and why_chosen(board) == "small (source) was chosen: cheaper."
    return leaderboard_table(board, METRICS)[0]


def test_what_is_read_first_is_shown(table: Table) -> None:
    main = table
    assert [column.title for column in main.head] == [
        "rank",
        "candidate",
        "accuracy ± SE",
        "by",
        "linear probe ± SE",
        "params (million)",
        "GMACs",
        "ms an image",
    ]
    assert main.rows[0].cells == (
        "1",
        "big (none, 32 px)",
        "96.1% ± 0.7",
        "fine-tuned",
        "95.0% ± 1.0",
        "11.2",
        "0.037",
        "4.25",
    )
    assert [row.cells[3] for row in main.rows] == ["fine-tuned", "fine-tuned", "linear probe", "failed", "control"]
    assert main.rows[3].cells == ("–", "fourth (none, 32 px)", "–", "failed", "–", "–", "–", "–")
    assert main.rows[4].cells == ("–", "majority class", "10.0% ± 0.0", "control", "–", "–", "–", "–")
    assert [row.chosen for row in main.rows] == [False, True, False, False, False]
    assert main.rows[3].note == "failed probing: out of memory"


def test_many_candidates_are_cut_and_the_controls_stay(tmp_path: Path) -> None:
    row = '{0},"n{0} (none)",0.5,0.1,candidate,n{0},none,32,3,4,,,0.5,0.1,,,,1,1,0,0,4,2,300,290,310,1,no finalist\n'
    text = HEAD + "".join(row.format(number) for number in range(1, 31)) + ROWS.splitlines(keepends=True)[-1]
    (tmp_path / "a.csv").write_text(text)
    board = read_leaderboard(tmp_path / "a.csv")
    assert board is not None
    main, more = leaderboard_table(board, METRICS)
    assert len(main.rows) == MOST_CANDIDATES + 1
    assert main.rows[-1].cells[1] == "majority class"
    assert more == " The first 20 of 30 candidates are shown."


def test_what_selection_really_writes_is_shown() -> None:
    from graft.selection.report.leaderboard import COLUMNS

    shown = {"rank", "name", "score", "score_se", "kind", "probe_mean", "probe_se", "finetuned_mean", "why", "arch"}
    assert shown | {"weights", "params_m", "gmacs", "latency_ms", "metric"} <= set(COLUMNS)


def test_the_page_says_what_the_scores_agreed_on(planted: Callable[..., Evaluation], tmp_path: Path) -> None:
    import dataclasses

    (tmp_path / "a.csv").write_text(HEAD + ROWS)
    said = {"probe": {"said": "The linear probe put <b>big</b> first."}}
    (tmp_path / "agreement.json").write_text(json.dumps(said))
    assert read_agreement(tmp_path / "none.json") == ()
    full = dataclasses.replace(
        context_of(planted()),
        leaderboard=read_leaderboard(tmp_path / "a.csv"),
        agreement=read_agreement(tmp_path / "agreement.json"),
    )
    text = render_html(full)
    assert "Would a cheaper score have chosen the same?" in text
    assert "<li>The linear probe put &lt;b&gt;big&lt;/b&gt; first.</li>" in text
    assert "control: the most frequent" in text
    assert "Would a cheaper score" not in render_html(context_of(planted()))
