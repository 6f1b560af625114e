"""Files in the outputs of a stage that are the user's, also after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.core.errors import DataError
from graft.pipeline.execution.outputs import StageOutputs

ROOT = Path(__file__).parents[3]


@pytest.fixture
def root(workspace_with: Callable[..., Path]) -> Path:
    """A project with the shipped graph, and with nothing made."""
    folder = workspace_with()
    shutil.copy(ROOT / "dvc.yaml", folder)
    return folder


def test_what_a_killed_run_left_is_moved_aside_and_not_lost(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = StageOutputs("tune", Path())
    outputs.protect()
    (root / "reports/tuning").mkdir(parents=True)
    (root / "reports/tuning/best.json").write_text("half of a run")  # and the run is killed: `written` is not reached
    outputs.protect()
    assert not (root / "reports/tuning/best.json").exists()
    (aside,) = (root / ".graft/set aside").iterdir()
    assert (aside / "reports/tuning/best.json").read_text() == "half of a run"
    assert capsys.readouterr().err == (
        "tune: the run before was killed, so reports/tuning/best.json, which it or you left, is moved to "
        f"{aside.relative_to(root)}; delete that where nothing is yours\n"
    )
    (root / "reports/tuning/best.json").write_text("a whole run")
    outputs.written()
    outputs.protect()
    outputs.written()
    assert (root / "reports/tuning/best.json").read_text() == "a whole run", "what graft wrote is graft's"


def test_a_record_that_cannot_be_read_gives_nothing_away(root: Path) -> None:
    (root / "reports/tuning").mkdir(parents=True)
    (root / "reports/tuning/mine.txt").write_text("mine")
    (root / ".graft/outputs").mkdir(parents=True)
    (root / ".graft/outputs/tune.json").write_text("{")
    with pytest.raises(DataError) as caught:
        StageOutputs("tune", Path()).protect()
    assert caught.value.message() == (
        "the stage 'tune' replaces reports/tuning, and graft did not write what lies there: reports/tuning/mine.txt\n"
        "  where: reports/tuning\n"
        "  remedy: move what is yours to a folder of its own, for instance data/mine, and name that as data.source; "
        "where nothing of it is yours, delete reports/tuning"
    )
