"""Taking in: names are kept, never collide, never leave data/raw, and the user's own files are never touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graft.core.errors import DataError
from graft.data import ingest
from graft.data.ingest import by_raw_path, copy_images
from graft.data.sources.listing import Sample


def samples(tmp_path: Path, *named: tuple[str, str]) -> list[Sample]:
    found = []
    for source, label in named:
        file = tmp_path / "user" / source
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(source.encode())
        found.append(Sample(file, source, label))
    return found


def test_images_are_placed_by_class_and_the_users_files_stay_their_own(tmp_path: Path) -> None:
    items = samples(tmp_path, ("b/2.png", "b"), ("a/1.png", "a"))
    table = copy_images(items, tmp_path / "raw")
    assert table["path"].tolist() == ["a/1.png", "b/2.png"]
    assert table["source"].tolist() == ["a/1.png", "b/2.png"]
    assert table["split"].isna().all()
    assert (tmp_path / "raw/a/1.png").read_bytes() == b"a/1.png"
    # No hard link: DVC may make what it caches read-only, and that must not be the user's file.
    assert items[0].file.stat().st_nlink == 1


def test_names_that_collide_get_a_mark_of_their_source(tmp_path: Path) -> None:
    items = samples(tmp_path, ("train/ants/1.jpg", "ants"), ("val/ants/1.jpg", "ants"), ("val/ants/1.JPG", "ants"))
    paths = list(by_raw_path(items))
    assert paths[0] == "ants/1.jpg"
    assert [path[:7] for path in paths[1:]] == ["ants/1-", "ants/1-"]
    assert len({path.lower() for path in paths}) == 3
    assert list(by_raw_path(items)) == paths


@pytest.mark.parametrize("label", ["../../etc", "/etc", "..", "", "a/b", "a\x00b", "x" * 300, ".hidden"])
def test_no_label_leads_out_of_the_folder(tmp_path: Path, label: str) -> None:
    (item,) = samples(tmp_path, ("1.png", label))
    table = copy_images([item], tmp_path / "raw")
    (placed,) = [path for path in (tmp_path / "raw").rglob("*") if path.is_file()]
    assert placed.parent.parent == tmp_path / "raw"
    assert table["label"].tolist() == [label]


def test_labels_that_a_file_system_could_confuse_get_folders_of_their_own(tmp_path: Path) -> None:
    paths = list(by_raw_path(samples(tmp_path, ("1.png", "Cat"), ("2.png", "cat"), ("3.png", "a/b"), ("4.png", "a_b"))))
    assert len({path.split("/")[0].casefold() for path in paths}) == 4


def test_the_longest_name_still_fits_when_it_is_marked(tmp_path: Path) -> None:
    name = "é" * 125 + ".png"
    paths = list(by_raw_path(samples(tmp_path, (f"x/{name}", "a"), (f"y/{name}", "a"))))
    assert max(len(path.split("/")[1].encode()) for path in paths) <= 255


def test_where_the_kernel_cannot_copy_the_bytes_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    copy_images(samples(tmp_path, ("a/1.png", "a")), tmp_path / "raw")
    assert (tmp_path / "raw/a/1.png").read_bytes() == b"a/1.png"


def test_a_file_that_went_and_a_full_disk_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = samples(tmp_path, ("a/1.png", "a"))
    items[0].file.unlink()
    with pytest.raises(DataError, match="the image cannot be taken in: No such file or directory"):
        copy_images(items, tmp_path / "raw")

    def full(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ingest, "_clone", full)
    with pytest.raises(DataError) as caught:
        copy_images(samples(tmp_path, ("a/2.png", "a")), tmp_path / "raw")
    assert caught.value.what == "the image cannot be taken in: No space left on device"
    assert caught.value.where == str(tmp_path / "user/a/2.png")
