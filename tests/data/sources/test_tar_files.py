"""Tar files as a source: whoever packed them, they are read where they lie, and no name in them leads anywhere."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.core.errors import DataError
from graft.core.packed_files import PackedFile, open_folder, read_bytes
from graft.data.doctor.cleaned_copy import write_cleaned_copy
from graft.data.ingest import copy_images
from graft.data.packing import pack_files, pack_images
from graft.data.sources import tar_files
from graft.data.sources.listing import SourceListing, SourceSpec
from graft.data.sources.registry import list_source
from graft.modalities.image.decode import decode
from graft.pipeline import ingest, locate, validate
from graft.pipeline.execution.runner import run_stage

DIVIDED = {f"{part}/{name}": 2 for part in ("train", "val", "test") for name in ("cat", "dog")}


def find(folder: Path, follow_links: bool = False) -> SourceListing:
    return list_source(SourceSpec(str(folder), Path(), Path("/nonexistent"), follow_links))


def tar_of(path: Path, *members: tarfile.TarInfo | str, **options: int) -> Path:
    """Write a tar file of members that are given, or are images by their names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:  # type: ignore[call-overload]
        for member in members:
            entry = tarfile.TarInfo(member) if isinstance(member, str) else member
            data = entry.name.encode() if entry.isreg() else b""
            entry.size = entry.size or len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def why(found: SourceListing) -> dict[str, str]:
    return {item.path: item.why for item in found.skipped}


@pytest.mark.parametrize("layout", [{"cat": 3, "dog": 3}, DIVIDED])
@pytest.mark.parametrize("packed_by", ["tar", "gnu", "ustar", "graft"])
def test_records_are_those_of_the_folder(
    make_classes: Callable[..., Path], tmp_path: Path, layout: dict[str, int], packed_by: str
) -> None:
    folder, home = make_classes(layout), tmp_path / "tars"
    home.mkdir()
    expected = find(folder)
    if packed_by == "tar":
        if shutil.which("tar") is None:
            pytest.skip("there is no tar program here")
        subprocess.run(["tar", "-C", str(folder), "-cf", str(home / "a.tar"), "."], check=True)
    elif packed_by == "graft":
        pack_files({sample.source: sample.file for sample in expected.samples}, home, 3)
    else:
        kinds = {"gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
        with tarfile.open(home / "a.tar", "w", format=kinds[packed_by]) as tar:
            tar.add(folder, "")
    found = find(home)
    assert found.watched == home
    assert found.skipped == ()
    facts = [[(r.source, r.label, r.split, r.file.name) for r in each.samples] for each in (found, expected)]
    assert facts[0] == facts[1]
    for sample, loose in zip(found.samples, expected.samples, strict=True):
        assert read_bytes(sample.file) == read_bytes(loose.file)
        assert decode(sample.file).tobytes() == decode(loose.file).tobytes()
    for take_in in (copy_images, lambda samples, target: pack_images(samples, target, 2)):
        pair = [tmp_path / "raw" / str(number) for number in range(2)]
        tables = []
        for target, each in zip(pair, (found, expected), strict=True):
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            tables.append(take_in(each.samples, target))
        assert tables[0].equals(tables[1])
        one, other = map(open_folder, pair)
        assert all((one / path).read_bytes() == (other / path).read_bytes() for path in tables[0]["path"])


def test_no_member_leads_out_and_nothing_is_followed(tmp_path: Path) -> None:
    tar_of(
        tmp_path / "s" / "a.tar",
        "cat/1.png",
        "dog/1.png",
        "../out/1.png",
        "cat/../../out.png",
        "/etc/1.png",
        link("cat/soft.png", tarfile.SYMTYPE, "/etc/passwd"),
        link("cat/hard.png", tarfile.LNKTYPE, "dog/1.png"),
        link("cat/pipe.png", tarfile.FIFOTYPE, ""),
        link("cat/device.png", tarfile.CHRTYPE, ""),
        "cat/._1.png",
        ".git/cat/1.png",
        "__MACOSX/cat/1.png",
        "cat/notes.txt",
        "loose.png",
    )
    found = find(tmp_path / "s")
    assert [sample.source for sample in found.samples] == ["cat/1.png", "dog/1.png"]
    no_file, out = "neither a file nor a folder", "its path leads out of the tar file"
    assert why(found) == {
        "a.tar: ../out/1.png": out,
        "a.tar: cat/../../out.png": out,
        "a.tar: /etc/1.png": out,
        "a.tar: cat/soft.png": no_file,
        "a.tar: cat/hard.png": no_file,
        "a.tar: cat/pipe.png": no_file,
        "a.tar: cat/device.png": no_file,
        "a.tar: cat/._1.png": "hidden",
        "a.tar: .git/cat/1.png": "hidden",
        "a.tar: __MACOSX/cat/1.png": "left by a file manager or archiver",
        "a.tar: cat/notes.txt": "not an image by its name",
        "a.tar: loose.png": "not in a class folder",
    }


def test_a_huge_member_is_passed_over_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_files, "MAX_BYTES", 1 << 20)
    huge = tarfile.TarInfo("cat/huge.png")
    huge.size = (1 << 20) + 1
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(huge, io.BytesIO(bytes(huge.size)))
        tar.addfile(tarfile.TarInfo("cat/1.png"))
    assert why(find(tmp_path)) == {"a.tar: cat/huge.png": "larger than 1 MiB"}


@pytest.mark.parametrize("second", ["a.tar", "b.tar"])
def test_an_image_that_is_there_twice_is_refused(tmp_path: Path, second: str) -> None:
    """`tar -r` appends a newer one; which of them is meant?"""
    tar_of(tmp_path / "a.tar", "cat/1.png", *(["./cat/1.png"] if second == "a.tar" else []))
    if second == "b.tar":
        tar_of(tmp_path / "b.tar", "cat/1.png")
    with pytest.raises(DataError, match=r"the tar files hold cat/1.png twice, in a.tar") as refused:
        find(tmp_path)
    assert refused.value.where == str(tmp_path / second)


def damaged(whole: bytes) -> dict[str, bytes]:
    second = whole.index(b"cat/2.png")
    return {
        "cut in an image": whole[: second + 512 + 3],
        "cut in a header": whole[: second + 100],
        "cut between images": whole[:second],
        "a header in the middle": whole[:second] + b"\1" * 100 + whole[second + 100 :],
        "compressed": gzip.compress(whole),
        "none": b"no tar file at all",
        "empty": b"",
    }


@pytest.mark.parametrize("how", damaged(b"cat/2.png"))
def test_a_damaged_tar_file_is_refused_not_half_read(tmp_path: Path, how: str) -> None:
    path = tar_of(tmp_path / "a.tar", "cat/1.png", "cat/2.png", "cat/3.png", format=tarfile.USTAR_FORMAT)
    path.write_bytes(damaged(path.read_bytes())[how])
    with pytest.raises(DataError, match="the tar file cannot be read") as refused:
        find(tmp_path)
    assert refused.value.where == str(path)
    assert "without compression" in (refused.value.remedy or "")


def test_a_wrapping_folder_is_refused(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", "photos/cat/1.png", "photos/dog/1.png")
    with pytest.raises(DataError, match="the only folder here is 'photos'") as refused:
        find(tmp_path)
    assert refused.value.remedy == "pack what is in it: `tar -C photos -cf photos.tar .`"


def test_a_test_folder_without_a_train_folder_is_refused(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", "test/cat/1.png", "test/dog/1.png")
    with pytest.raises(DataError, match="there is a folder 'test' with class folders in it, but no folder 'train'"):
        find(tmp_path)


def test_what_could_be_a_split_or_a_class_is_refused(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", "train/cat/1.png", "train/loose.png", "test/cat/2.png")
    with pytest.raises(DataError, match="the folder 'train' holds both folders and loose images") as refused:
        find(tmp_path)
    assert refused.value.where == str(tmp_path)


def test_a_class_called_train_may_hold_folders_of_images(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", "train/1.png", "train/steam/2.png", "test/3.png", "car/4.png")
    labels = {(sample.source, sample.label, sample.split) for sample in find(tmp_path).samples}
    assert labels == {
        ("train/1.png", "train", None),
        ("train/steam/2.png", "train", None),
        ("test/3.png", "test", None),
        ("car/4.png", "car", None),
    }


def test_a_folder_with_class_folders_is_no_folder_of_tar_files(make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"cat": 2, "dog": 2})
    tar_of(folder / "a.tar", "bird/1.png")
    assert {sample.label for sample in find(folder).samples} == {"cat", "dog"}


def test_a_link_out_of_the_folder_is_followed_only_when_asked(tmp_path: Path) -> None:
    tar_of(tmp_path / "s" / "a.tar", "cat/1.png")
    tar_of(tmp_path / "elsewhere.tar", "dog/1.png")
    (tmp_path / "s" / "b.tar").symlink_to(tmp_path / "elsewhere.tar")
    assert why(find(tmp_path / "s")) == {"b.tar": "a link that leads out of the data folder"}
    assert len(find(tmp_path / "s", follow_links=True).samples) == 2


def test_an_image_that_is_no_longer_where_it_was_listed_is_named(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", "cat/1.png", "cat/2.png")
    sample = find(tmp_path).samples[1]
    tar_of(path, "dog/1.png", "dog/2.png")
    with pytest.raises(DataError, match="the tar file does not hold the image where") as refused:
        copy_images([sample], tmp_path / "raw")
    assert isinstance(sample.file, PackedFile)
    assert refused.value.where == f"{tmp_path}/cat/2.png (in a.tar)"


def test_a_table_cannot_name_what_lies_in_tar_files(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", "cat/1.png", "dog/1.png")
    with pytest.raises(DataError, match="these images lie in tar files, which a table cannot name"):
        write_cleaned_copy(find(tmp_path), {}, tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_the_first_stages_take_tar_files(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], tmp_path: Path
) -> None:
    folder, made = make_classes({"cat": 6, "dog": 6}), []
    home = tmp_path / "tars"
    home.mkdir()
    pack_files({sample.source: sample.file for sample in find(folder).samples}, home, 2)
    for source, pack in (("../images", 0), ("../tars", 0), ("../tars", 4)):
        root = workspace_with(data={"source": source, "pack": pack})
        for stage in (locate, ingest, validate):
            assert run_stage(stage.__name__, stage.run) == 0
        made.append([(root / "data" / name).read_bytes() for name in ("ingested.parquet", "manifest.parquet")])
    assert made[0] == made[1] == made[2]
    assert (root / "data/.links/data.source").resolve() == home
