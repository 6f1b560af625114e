"""Folders that are replaced whole: in one step, through a link, and never with what somebody put there meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from graft.core import files
from graft.core.errors import DataError
from graft.core.files import atomic_dir


def test_a_link_to_a_folder_stays_and_the_folder_behind_it_is_replaced(tmp_path: Path) -> None:
    """As where data/raw lies on a larger disk."""
    disk, link = tmp_path / "disk" / "raw", tmp_path / "project" / "raw"
    disk.mkdir(parents=True)
    link.parent.mkdir()
    (disk / "old").write_text("old")
    link.symlink_to(disk)
    for content in ("new", "newer"):
        with atomic_dir(link) as folder:
            (folder / content).write_text(content)
        assert link.readlink() == disk
        assert [path.name for path in disk.iterdir()] == [content]
    assert [path.name for path in link.parent.iterdir()] == ["raw"], "no stray link beside"
    assert [path.name for path in disk.parent.iterdir()] == ["raw"]


def test_a_link_that_leads_nowhere_is_refused_and_stays(tmp_path: Path) -> None:
    link = tmp_path / "raw"
    link.symlink_to(tmp_path / "unmounted" / "raw")
    with pytest.raises(DataError) as caught, atomic_dir(link):
        pytest.fail("nothing is to be written")
    assert caught.value.message() == (
        f"this link leads nowhere\n  where: {link}\n  remedy: make the folder {tmp_path / 'unmounted' / 'raw'}, mount "
        "the disk that it is on, or remove the link"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_what_is_put_into_a_folder_while_it_is_made_anew_stays(tmp_path: Path) -> None:
    path = tmp_path / "raw"
    (path / "cat").mkdir(parents=True)
    (path / "cat" / "1.png").write_text("graft's")
    with pytest.raises(DataError) as caught, atomic_dir(path) as folder:
        (folder / "cat").mkdir()
        (path / "cat" / "holiday.jpg").write_text("the only copy")
        (path / ".DS_Store").write_text("a file manager's")
    assert caught.value.message() == (
        f"this was put there while the folder was made anew: cat/holiday.jpg\n  where: {path}\n"
        "  remedy: move it to a folder of its own, for instance data/mine, and run again"
    )
    assert (path / "cat" / "holiday.jpg").read_text() == "the only copy"
    assert [item.name for item in tmp_path.iterdir()] == ["raw"]


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
