"""The links through which DVC sees the user's data: made, moved, never followed when removed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.core.errors import WeightsError
from graft.data.sources.listing import SourceListing
from graft.data.sources.source_links import link_source, link_weights


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def test_a_folder_is_linked_absolutely_or_relatively_as_it_was_given(
    root: Path, make_classes: Callable[..., Path]
) -> None:
    folder, link = make_classes({"cat": 1}), root / "data/.links/data.source"
    assert link_source(SourceListing((), watched=folder), str(folder), link) is None
    assert str(link.readlink()) == str(folder)
    assert link_source(SourceListing((), watched=folder), "../images", link) is None
    assert str(link.readlink()) == "../../../images"
    assert (link / "cat/cat_000.png").is_file()
    assert json.loads(link.with_name("data.source.json").read_text()) == {"source": "../images", "watched": True}


def test_switching_to_built_in_data_removes_the_link_and_nothing_behind_it(
    root: Path, make_classes: Callable[..., Path]
) -> None:
    folder, link = make_classes({"cat": 1}), root / "data/.links/data.source"
    for _ in range(2):
        link_source(SourceListing((), watched=folder, table=folder / "cat/cat_000.png"), str(folder), link)
        assert link.with_name("data.source.table").is_symlink()
        link_source(SourceListing(()), "digits", link)
        made = sorted(path.relative_to(link.parent).as_posix() for path in link.parent.rglob("*"))
        assert made == ["data.source", "data.source.json", "data.source.table", "data.source/note.txt"]
        assert not any(path.is_symlink() for path in link.parent.rglob("*"))
        assert (folder / "cat/cat_000.png").is_file()


@pytest.mark.parametrize("fault", ["dangling", "pipe", "ignore", "latin"])
def test_what_dvc_would_stop_or_hang_at_is_not_linked(
    root: Path, make_classes: Callable[..., Path], fault: str
) -> None:
    folder, link = make_classes({"cat": 1}), root / "data/.links/data.source"
    if fault == "dangling":
        (folder / "cat/x.png").symlink_to("nowhere")
    elif fault == "pipe":
        os.mkfifo(folder / "cat/x.png")
    elif fault == "latin":
        (folder / "cat/x.png").write_bytes(b"x")
        os.rename(folder / "cat/x.png", os.fsencode(folder) + b"/cat/\xe9.png")  # noqa: PTH104 - the name is bytes
    else:
        (folder / ".dvcignore").write_text("")
    trouble = link_source(SourceListing((), watched=folder), str(folder), link)
    assert trouble is not None
    assert str(folder) in trouble
    assert not link.is_symlink()
    assert json.loads(link.with_name("data.source.json").read_text())["watched"] is False


def test_weights_files_are_linked_by_what_names_them_and_no_others(root: Path, tmp_path: Path) -> None:
    links = root / "data/.links/weights"
    link_weights([], root, links)
    assert [path.name for path in links.iterdir()] == ["note.txt"], "a folder that is empty DVC cannot hash"
    for name in ("Gewichte ä/r 18.pth", "other/r 18.pth"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    own = [Path("../Gewichte ä/r 18.pth"), tmp_path / "other/r 18.pth"]
    link_weights(own, root, links)
    made = {path.read_text(): str(path.readlink()) for path in links.iterdir() if path.is_symlink()}
    assert made == {
        "Gewichte ä/r 18.pth": "../../../../Gewichte ä/r 18.pth",
        "other/r 18.pth": str(tmp_path / "other/r 18.pth"),
    }, "a path stays relative, so that project and weights can be moved together"
    link_weights(own[:1], root, links)
    assert len(list(links.iterdir())) == 2
    assert (tmp_path / "other/r 18.pth").exists()
    with pytest.raises(WeightsError, match="the weights file is not there"):
        link_weights([Path("../none.pth")], root, links)
