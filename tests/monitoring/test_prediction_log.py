"""The journal of answers: what is written is read again, bounded, by several processes, and never an image."""

from __future__ import annotations

import dataclasses
import sqlite3
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest

from graft.core.errors import GraftError
from graft.monitoring.prediction_log import COLUMNS, PredictionLog, PredictionRecord

STATS = {"width": 640, "height": 480, "brightness": 0.5, "contrast": 0.2}
ANSWER = PredictionRecord("a", 1.0, "0123", "cat", 0.9, False, None, STATS)


def answer(number: int, at: float | None = None) -> PredictionRecord:
    return dataclasses.replace(ANSWER, id=f"{number:06d}", at=float(number) if at is None else at)


def write(path: Path, start: int, count: int) -> None:
    for number in range(start, start + count):
        PredictionLog(path).add([answer(number)])


def test_what_was_said_is_read_with_what_people_answered(tmp_path: Path) -> None:
    journal = PredictionLog(tmp_path / "new" / "journal.sqlite")
    assert list(journal.read().columns) == [*COLUMNS[:-1], "truth"]
    assert len(journal.read()) == 0
    journal.add([answer(2), answer(1)])
    assert journal.correct("000001", "dog", at=5.0)
    assert journal.correct("000001", "cow", at=6.0)
    assert not journal.correct("000009", "dog", at=5.0)
    rows = journal.read()
    assert rows["id"].tolist() == ["000001", "000002"]
    assert rows["truth"].tolist()[0] == "cow"
    assert {name: rows[name][0] for name in STATS} == STATS, "a column for each statistic, whatever the modality's are"
    assert rows["truth"].isna().tolist() == [False, True]
    assert journal.read(since=1.5)["id"].tolist() == ["000002"]


def test_the_oldest_go_with_their_feedback_where_there_are_too_many(tmp_path: Path) -> None:
    journal = PredictionLog(tmp_path / "journal.sqlite", limit=3)
    journal.add([answer(number) for number in range(3)])
    assert journal.correct("000000", "dog", at=9.0)
    journal.add([answer(3), answer(4)])
    assert journal.read()["id"].tolist() == ["000002", "000003", "000004"]
    journal.add([answer(0, at=10.0)])
    assert journal.read()["truth"].isna().all()  # the feedback of an answer that went does not come back with its name


def test_the_oldest_go_together_and_not_one_by_one(tmp_path: Path) -> None:
    journal = PredictionLog(tmp_path / "journal.sqlite", limit=200)
    sizes = []
    for number in range(210):
        journal.add([answer(number)])
        sizes.append(len(journal.read()))
    assert max(sizes) == 202 and sizes[202] == 200
    assert journal.read()["id"].tolist()[-1] == "000209"


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for done in [pool.submit(write, path, start, 25) for start in (0, 100)]:
            done.result()
    assert len(PredictionLog(path).read()) == 50


def test_who_comes_while_another_makes_the_file_waits_for_it(tmp_path: Path) -> None:
    """What waits is written while somebody already corrects an answer: both make the file."""
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN IMMEDIATE")
        added = pool.submit(PredictionLog(path).add, [answer(1)])
        wait([added], timeout=0.5)  # enough for it to be refused; what is late only waits less
        other.execute("ROLLBACK")
        added.result()
    assert PredictionLog(path).read()["id"].tolist() == ["000001"]


def test_a_file_that_is_no_journal_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(GraftError, match="the prediction log cannot be used: file is not a database") as raised:
        PredictionLog(path).read()
    assert str(path) in raised.value.message()
