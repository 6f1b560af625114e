"""Packed images: the same bytes come back from the same tar files, small changes stay small, and damage is named."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.core.errors import DataError
from graft.core.packed_files import INDEX_FILE, PackedFile, PackedFolder, open_folder
from graft.data.ingest import copy_images
from graft.data.manifest import describe_file
from graft.data.packing import pack_files, pack_images, shard_of
from graft.data.sources.listing import Sample, Skipped
from graft.data.sources.scan import ScanScope, scan
from graft.modalities.image import decode
from graft.modalities.image.modality import ImageModality

NAMES = ["a b.png", "é中🐜.png", "n" * 180 + ".png", "empty.png", "c.png", "-d.png"]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Files of all sizes around a tar block, under names that a header has and has no room for."""
    found = {}
    for place, name in enumerate(NAMES):
        file = tmp_path / "user" / f"{place}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"" if name == "empty.png" else bytes([place]) * (510 + place))
        found[f"cat/{name}"] = file
    return found


@pytest.fixture
def packed(files: dict[str, Path], tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    pack_files(files, folder, 3)
    return folder


def image_of(folder: Path, path: str) -> PackedFile:
    found = open_folder(folder) / path
    assert isinstance(found, PackedFile)
    return found


def rewrite_index(folder: Path, change: Callable[[dict[str, list[object]]], object]) -> None:
    columns = pq.read_table(folder / INDEX_FILE).to_pydict()
    change(columns)
    pq.write_table(pa.table(columns), folder / INDEX_FILE)


def test_every_image_comes_back_as_it_was(files: dict[str, Path], packed: Path) -> None:
    raw = open_folder(packed)
    assert isinstance(raw, PackedFolder)
    assert raw.paths() == sorted(files)
    assert {path: (raw / path).read_bytes() for path in files} == {p: f.read_bytes() for p, f in files.items()}
    assert {(raw / path).name for path in files} == set(NAMES)


def test_any_tar_gives_the_class_folders_back(files: dict[str, Path], packed: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    for shard in sorted(packed.glob("*.tar")):
        if shutil.which("tar"):
            subprocess.run(["tar", "xf", str(shard)], cwd=unpacked, check=True)
        else:
            with tarfile.open(shard) as tar:
                tar.extractall(unpacked, filter="data")
    found = {path.relative_to(unpacked).as_posix(): path for path in unpacked.rglob("*") if path.is_file()}
    assert {path: file.read_bytes() for path, file in found.items()} == {p: f.read_bytes() for p, f in files.items()}


_part = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=60)


@given(st.dictionaries(st.tuples(_part, _part), st.binary(max_size=1200), max_size=12), st.integers(1, 200))
def test_what_is_packed_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[tuple[str, str], bytes], shards: int
) -> None:
    home, folder = tmp_path_factory.mktemp("user"), tmp_path_factory.mktemp("raw")
    files = {}
    for place, (parts, data) in enumerate(contents.items()):
        files["/".join(parts)] = home / str(place)
        (home / str(place)).write_bytes(data)
    pack_files(files, folder, shards)
    raw = open_folder(folder)
    assert {path: (raw / path).read_bytes() for path in files} == {
        "/".join(parts): data for parts, data in contents.items()
    }
    assert {file.name for file in folder.glob("*.tar")} == {shard_of(path, shards) for path in files}


def test_the_same_files_give_the_same_bytes_whatever_their_times_owners_and_order(
    files: dict[str, Path], packed: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    again.mkdir()
    for file in files.values():
        file.touch()
        file.chmod(0o600)
    pack_files(dict(reversed(files.items())), again, 3)
    assert contents_of(again) == contents_of(packed)


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("change", ["changed", "added", "gone"])
def test_one_image_changes_one_tar_file_and_the_index(
    files: dict[str, Path], packed: Path, tmp_path: Path, change: str
) -> None:
    files = {**files, **{f"dog/{number}.png": files["cat/c.png"] for number in range(40)}}
    before, after = tmp_path / "before", tmp_path / "after"
    touched = {"changed": "cat/a b.png", "added": "dog/new.png", "gone": "dog/7.png"}[change]
    for folder in (before, after):
        folder.mkdir()
    pack_files(files, before, 8)
    if change == "gone":
        del files[touched]
    else:
        files[touched] = tmp_path / "other.png"
        files[touched].write_bytes(b"another" * 300)
    pack_files(files, after, 8)
    old, new = contents_of(before), contents_of(after)
    assert len(old) == 9
    assert {name for name in old | new if old.get(name) != new.get(name)} == {shard_of(touched, 8), INDEX_FILE}


def test_a_packed_folder_goes_to_other_processes_and_threads_small(files: dict[str, Path], packed: Path) -> None:
    raw = open_folder(packed)
    sent = pickle.dumps(raw)
    assert len(sent) < 600
    there = pickle.loads(sent)
    assert there == raw
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda path: (path, (there / path).read_bytes()), sorted(files) * 20))
    assert all(data == files[path].read_bytes() for path, data in read)
    assert pickle.loads(pickle.dumps(raw / "cat/c.png")) == raw / "cat/c.png"


def test_loose_images_are_paths(tmp_path: Path) -> None:
    assert open_folder(tmp_path) == tmp_path
    # A class may be called as the index is, or as a tar file is.
    (tmp_path / INDEX_FILE).mkdir()
    (tmp_path / "00.tar").mkdir()
    assert open_folder(tmp_path) == tmp_path


def test_facts_pixels_and_table_are_those_of_the_loose_images(
    make_classes: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_classes({"ant": 3, "bee": 3})
    (folder / "ant" / "broken.png").write_bytes(b"no image")
    samples = [
        Sample(path, path.relative_to(folder).as_posix(), path.parent.name)
        for path in sorted(scan(folder, ScanScope(folder)), key=str)
        if not isinstance(path, Skipped)
    ]
    for name in ("loose", "packed"):
        (tmp_path / name).mkdir()
    table = copy_images(samples, tmp_path / "loose")
    assert pack_images(samples, tmp_path / "packed", 2).equals(table)
    loose, packed = (open_folder(tmp_path / name) for name in ("loose", "packed"))
    for path in table["path"]:
        assert describe_file(packed / path, ImageModality()) == describe_file(loose / path, ImageModality())
        if path != "ant/broken.png":
            assert decode.decode(packed / path).tobytes() == decode.decode(loose / path).tobytes()
    with pytest.raises(DataError) as refused:
        decode.decode(packed / "ant/broken.png")
    assert refused.value.where == f"{tmp_path}/packed/ant/broken.png (in {shard_of('ant/broken.png', 2)})"


def test_a_cut_tar_file_is_refused_when_the_folder_is_opened(packed: Path) -> None:
    shard = min(packed.glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(DataError, match="cut off or is gone: 700 bytes are there") as refused:
        open_folder(packed)
    assert refused.value.where == str(shard)
    assert "dvc checkout --force data/raw" in (refused.value.remedy or "")


def test_what_is_cut_later_is_refused_when_it_is_read(packed: Path) -> None:
    image = image_of(packed, "cat/c.png")
    image.shard.write_bytes(image.shard.read_bytes()[: image.offset + 5])
    with pytest.raises(DataError) as refused:
        decode.decode(image)
    assert refused.value.what == "the tar file was cut off: the image is not all there"
    assert refused.value.where == f"{packed}/cat/c.png (in {image.shard.name})"
    image.shard.unlink()
    with pytest.raises(DataError, match="the tar file cannot be read: No such file or directory"):
        decode.decode(image)


def test_a_missing_index_is_named(packed: Path) -> None:
    (packed / INDEX_FILE).unlink()
    with pytest.raises(DataError, match=r"images are packed here \(0\d.tar\), but their index is missing"):
        open_folder(packed)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda columns: columns["shard"].__setitem__(0, "../user.tar"),
            "the tar file was cut off or is gone: 0 bytes",
        ),
        (lambda columns: columns["offset"].__setitem__(0, 10**9), "the tar file was cut off"),
        (lambda columns: columns["offset"].__setitem__(0, 0), "the tar file cannot be read"),
        (lambda columns: columns["offset"].__setitem__(0, 512 * 3 + 7), "the tar file does not hold the image"),
        (lambda columns: columns["bytes"].__setitem__(0, 3), "the tar file does not hold the image"),
        (lambda columns: columns["path"].__setitem__(0, "cat/other.png"), "the tar file does not hold the image"),
        (lambda columns: columns.pop("offset"), "the index of the packed images cannot be read"),
        (lambda columns: columns.__setitem__("bytes", ["one"] * len(NAMES)), "the index of the packed images cannot"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(
    packed: Path, change: Callable[[dict[str, list[object]]], object], says: str
) -> None:
    rewrite_index(packed, change)
    path = pq.read_table(packed / INDEX_FILE)["path"][0].as_py()
    with pytest.raises(DataError, match=says):
        (open_folder(packed) / path).read_bytes()


def test_an_index_that_is_no_table_is_refused(packed: Path) -> None:
    (packed / INDEX_FILE).write_bytes(b"none")
    with pytest.raises(DataError, match="the index of the packed images cannot be read"):
        open_folder(packed)


def test_images_that_changed_places_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """Packed again in another order: all offsets are as before, and each would get another's label."""
    folder = tmp_path / "raw"
    folder.mkdir()
    files = {}
    for name in ("cat/1.bmp", "dog/1.bmp"):
        files[name] = tmp_path / name.replace("/", "_")
        files[name].write_bytes(name.encode())
    pack_files(files, folder, 1)
    length = (folder / "00.tar").stat().st_size
    with tarfile.open(folder / "00.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in reversed(files):
            tar.add(files[name], name)
    assert (folder / "00.tar").stat().st_size == length
    image = image_of(folder, "cat/1.bmp")
    with pytest.raises(DataError, match="the tar file does not hold the image where its index says"):
        image.read_bytes()


def test_an_image_that_the_index_does_not_list_is_named(packed: Path) -> None:
    with pytest.raises(DataError, match=r"the index of the packed images does not list \.\./user/0"):
        open_folder(packed) / "../user/0"


def test_an_image_that_cannot_be_read_is_named(files: dict[str, Path], tmp_path: Path) -> None:
    files["cat/c.png"].unlink()
    with pytest.raises(DataError) as refused:
        pack_files(files, tmp_path, 2)
    assert refused.value.where == str(files["cat/c.png"])
    assert refused.value.what == "the image cannot be taken in: No such file or directory"
