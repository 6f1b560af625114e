"""Writing down beside the answering: whole at the end, harmless where the disk is not, bounded in every way."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from graft.core.errors import GraftError
from graft.monitoring.prediction_log import PredictionLog, PredictionRecord
from graft.serving.prediction_log.feedback import record_feedback
from graft.serving.prediction_log.image_store import ImageStore
from graft.serving.prediction_log.record import open_prediction_log
from graft.serving.prediction_log.writer import PredictionLogWriter
from graft.serving.schemas import Feedback
from graft.serving.settings import ServiceSettings

STATS = {"width": 640, "height": 480, "brightness": 0.5, "contrast": 0.2}
ANSWER = PredictionRecord("a", 1.0, "0123", "cat", 0.9, False, None, STATS)
PNG = b"\x89PNG\r\n\x1a\nrest"


def answer(number: int) -> PredictionRecord:
    return dataclasses.replace(ANSWER, id=f"{number:032x}", at=float(number))


def test_everything_is_written_by_the_end(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "predictions.sqlite")
    made = PredictionLogWriter(log)
    made.start()
    for number in range(1200):
        made.add(answer(number), PNG)
    made.close(60)
    assert log.read()["id"].tolist() == [f"{number:032x}" for number in range(1200)]
    assert list(tmp_path.glob("*.png")) == []
    made.close()  # a second time is no harm


def test_nothing_is_begun_where_nothing_is_wanted() -> None:
    made = PredictionLogWriter(None)
    made.start()
    assert not made.is_on
    made.add(ANSWER, PNG)
    made.close()


@dataclasses.dataclass(frozen=True)
class Stuck(PredictionLog):
    """A log on a disk that hangs, then is full, then works."""

    go_on: threading.Event = dataclasses.field(default_factory=threading.Event)
    faults: list[GraftError] = dataclasses.field(default_factory=list)

    def add(self, answers: Sequence[PredictionRecord]) -> None:
        self.go_on.wait(200)
        if self.faults:
            raise self.faults.pop()
        super().add(answers)


def test_a_disk_that_hangs_delays_nothing_and_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    lost: list[int] = []
    log = Stuck(tmp_path / "predictions.sqlite")
    made = PredictionLogWriter(log, on_lost=lost.append)
    made.start()
    for number in range(3000):
        made.add(answer(number), PNG)  # comes back at once, or this never ends
    log.go_on.set()
    made.close(60)
    assert sum(lost) + len(log.read()) == 3000
    assert sum(lost) >= 500


def test_feedback_waits_for_a_prediction_that_is_still_to_be_written(tmp_path: Path) -> None:
    made = PredictionLogWriter(PredictionLog(tmp_path / "predictions.sqlite"))
    made.start()

    async def predict_and_correct() -> None:
        await asyncio.gather(
            record_feedback(made, ("cat", "dog"), Feedback(id=f"{7:032x}", label="dog")),
            asyncio.to_thread(made.add, answer(7), PNG),
        )

    asyncio.run(predict_and_correct())
    made.close(60)
    assert PredictionLog(tmp_path / "predictions.sqlite").read()["truth"].tolist() == ["dog"]


def test_a_full_disk_is_said_once_and_when_it_is_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lost: list[int] = []
    what = "the prediction log cannot be used: database or disk is full"
    full = GraftError(what, where="there", remedy="make room")
    log = Stuck(tmp_path / "predictions.sqlite", faults=[full, full, full])
    log.go_on.set()
    made = PredictionLogWriter(log, on_lost=lost.append)
    made.start()
    with caplog.at_level(logging.WARNING, "graft"):
        for number in range(4):
            made.add(answer(number), PNG)
            made.flush(60)
        made.close()
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"predictions are answered but not logged: {what}\n  where: there\n  remedy: make room",
        "predictions are logged again",
    ]
    assert (lost, len(log.read())) == ([1, 1, 1], 1)


def test_images_are_kept_only_where_asked_under_the_answers_name_and_for_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "images"
    made = PredictionLogWriter(None, ImageStore(folder, 1 << 20))
    made.start()
    made.add(answer(7), PNG)
    made.close()
    (path,) = folder.iterdir()
    assert path.name == f"{7:032x}.kept.png" and path.read_bytes() == PNG
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_kept_images_are_bounded(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    kept = ImageStore(folder, 10_000)
    for number in range(100):
        kept.keep(f"{number:032x}", bytes(500))
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 10_000 + 500
    assert f"{99:032x}.kept.bin" in {path.name for path in folder.iterdir()}


def test_only_what_it_wrote_is_counted_and_deleted(tmp_path: Path) -> None:
    """The folder may be one of the user's own: a photograph, one named by its hash, a folder, a link."""
    theirs = [tmp_path / name for name in ("holiday.jpg", f"{1:032x}.png", "my.kept.png", "b/c.png")]
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(5000))
        os.utime(path, (1, 1))  # older than all that is kept
    (tmp_path / f"{2:032x}.kept.png").symlink_to(theirs[0])
    kept = ImageStore(tmp_path, 2000)
    for number in range(10, 30):
        kept.keep(f"{number:032x}", bytes(500))
    assert [path.stat().st_size for path in theirs] == [5000] * 4
    assert (tmp_path / f"{2:032x}.kept.png").is_symlink()
    assert 3 <= len(list(tmp_path.glob("*.kept.bin"))) <= 4, "what is kept has all the room, whatever else is there"


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / f"{1:032x}.kept.bin"
    path.write_text("mine")
    with pytest.raises(GraftError, match="images cannot be kept: File exists"):
        ImageStore(tmp_path, 2000).keep(f"{1:032x}", bytes(500))
    assert path.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(GraftError, match="images cannot be kept") as raised:
        ImageStore(tmp_path / "file", 1000).keep("a", b"x")
    assert raised.value.where == str(tmp_path / "file")


@pytest.mark.parametrize(("named", "expected"), [("", "project"), ("off", None), ("OFF", None), ("other", "other")])
def test_where_the_log_is(named: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_PREDICTION_LOG", str(tmp_path / named) if named == "other" else named)
    made = open_prediction_log(ServiceSettings.from_environment(), tmp_path / "project")
    made.close()
    assert (made.log and made.log.path) == (expected and tmp_path / expected)
    monkeypatch.setenv("GRAFT_PREDICTION_LOG", "")
    assert (
        open_prediction_log(ServiceSettings.from_environment(), None).log is None
    )  # a Bento has no project to write into
