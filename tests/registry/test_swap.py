"""While another model comes into use, whoever looks finds the old one or the new one, whole, and never none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from graft.core import files
from graft.core.files import atomic_dir


def replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Replace a folder, and say after every rename on the way whether it was there."""
    seen: list[bool] = []
    rename = Path.rename

    def watched(self: Path, target: Path) -> Path:
        done = rename(self, target)
        seen.append(path.exists())
        return done

    for text in ("old", "new"):
        with atomic_dir(path) as beside:
            (beside / "model.json").write_text(text)
            monkeypatch.setattr(Path, "rename", watched)
    assert (path / "model.json").read_text() == "new"
    assert [item.name for item in path.parent.iterdir()] == [path.name], "nothing of the old one is left"
    return seen


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two folders in one step")
def test_a_folder_is_never_missing_while_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(replaced(tmp_path / "promoted", monkeypatch))


def test_where_two_folders_cannot_be_exchanged_the_old_one_steps_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    assert not all(replaced(tmp_path / "promoted", monkeypatch)), "the test above would notice"
