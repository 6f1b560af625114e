"""The cache of statistics: unchanged files are not decoded, changed ones are, and the manifest never differs."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

import graft
from graft.core.code_version import code_of
from graft.data import stats_cache
from graft.data.ingest import ingested_table
from graft.data.manifest import build_manifest
from graft.data.sources.listing import Sample
from graft.data.stats_cache import FILE, StatsCache, stats_version
from graft.modalities.image.modality import ImageModality
from graft.modalities.image.stats import ImageSample
from tests.conftest import picture


class CountingModality(ImageModality):
    """Images, and how many were decoded."""

    def __init__(self) -> None:
        self.decoded = 0

    def decode(self, raw: bytes) -> ImageSample:
        self.decoded += 1
        return super().decode(raw)


class Folder:
    """Images with a cache beside them."""

    def __init__(self, root: Path) -> None:
        self.root, self.cache, self.modality = root / "images", StatsCache(root / "cache"), CountingModality()
        self.root.mkdir()

    def add(self, *numbers: int) -> None:
        for number in numbers:
            picture(number).save(self.root / f"{number}.png")

    def build(self, *, cached: bool = True, workers: int = 1) -> bytes:
        """The manifest as parquet; :attr:`decoded` counts."""
        self.modality.decoded = 0
        files = sorted(self.root.iterdir())
        table = ingested_table({f"a/{file.name}": Sample(file, file.name, "a") for file in files})
        manifest = build_manifest(table, files, self.modality, workers, self.cache if cached else None)
        path = self.root.parent / "m.parquet"
        manifest.to_parquet(path, index=False)
        return path.read_bytes()

    @property
    def decoded(self) -> int:
        return self.modality.decoded


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_what_has_not_changed_is_not_decoded_and_the_bytes_are_the_same(folder: Folder) -> None:
    folder.add(*range(6))
    (folder.root / "bad.jpg").write_text("text")
    first = folder.build()
    assert folder.decoded == 7
    cached = (folder.cache.folder / FILE).stat()
    second = folder.build()
    # What failed is tried again: it may have been a passing trouble.
    assert folder.decoded == 1
    assert first == second == folder.build(cached=False)
    assert (folder.cache.folder / FILE).stat().st_mtime_ns == cached.st_mtime_ns, "written without anything new"


def test_only_what_is_new_is_decoded_and_it_is_put_where_it_belongs(folder: Folder) -> None:
    folder.add(1, 3, 5)
    folder.build()
    folder.add(2, 4)
    (folder.root / "3.png").unlink()
    with_cache = folder.build()
    assert folder.decoded == 2
    assert with_cache == folder.build(cached=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_files_that_were_ingested_anew_are_not_decoded(folder: Folder, workers: int) -> None:
    folder.add(*range(5))
    first = folder.build(workers=workers)
    for file in list(folder.root.iterdir()):
        shutil.copyfile(file, file.with_suffix(".new"))
        file.with_suffix(".new").replace(file)
    assert (folder.build(), folder.decoded) == (first, 0)


def test_a_change_that_keeps_size_and_times_is_seen(folder: Folder) -> None:
    for number in (1, 2):
        picture(number).save(folder.root / f"{number}.bmp")
    folder.build()
    first, second = folder.root / "1.bmp", folder.root / "2.bmp"
    seen = first.stat()
    first.write_bytes(second.read_bytes())
    os.utime(first, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    folder.build()
    assert pd.read_parquet(folder.root.parent / "m.parquet")["pixel_sha256"].nunique() == 1


def test_what_is_known_of_another_folder_is_not_forgotten(folder: Folder, tmp_path: Path) -> None:
    folder.add(1, 2)
    folder.build()
    here, folder.root = folder.root, tmp_path / "other"
    folder.root.mkdir()
    folder.add(3)
    folder.build()
    folder.root = here
    folder.build()
    assert folder.decoded == 0


@pytest.mark.parametrize("how", ["cut", "bit", "empty", "text", "folder"])
def test_a_damaged_cache_is_reported_and_everything_is_decoded_again(
    folder: Folder, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.add(1, 2)
    right = folder.build()
    path = folder.cache.folder / FILE
    data = path.read_bytes()
    if how == "folder":
        path.unlink()
        path.mkdir()
    else:
        flipped = data[:60] + bytes([data[60] ^ 1]) + data[61:]
        path.write_bytes({"cut": data[:-2], "empty": b"", "text": b"text" * 20}.get(how, flipped))
    assert (folder.build(), folder.decoded) == (right, 2)
    assert f"the statistics kept in {path} cannot be used (" in capsys.readouterr().err


def test_statistics_of_another_version_are_not_used(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.add(1)
    folder.build()
    monkeypatch.setattr(stats_cache, "stats_version", lambda modality: "another")
    folder.build()
    assert (folder.decoded, capsys.readouterr().err) == (1, "")


def test_the_version_follows_the_code_that_computes_statistics_and_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(Path(graft.__file__).parent, tmp_path / "graft", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(stats_cache, "code_of", partial(code_of, package=tmp_path / "graft"))

    def version_with(module: str) -> str:
        with Path(tmp_path, *module.split(".")).with_suffix(".py").open("a") as file:
            file.write("# another\n")
        return stats_version(ImageModality())

    now = stats_version(ImageModality())
    assert version_with("graft.data.doctor.doctor") == now
    assert version_with("graft.modalities.image.decode") != now


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_cache_that_cannot_be_written_is_reported_and_the_manifest_is_right(
    folder: Folder, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.add(1, 2)
    right = folder.build(cached=False)

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(stats_cache, "atomic_file", fail)
        assert folder.build() == right
    assert capsys.readouterr().err == (
        f"statistics cannot be kept in {folder.cache.folder} ({os.strerror(number)}); the next run decodes again\n"
    )


def test_files_that_go_or_may_not_be_read_are_problems_and_not_cached(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.add(1, 2)
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "1.png":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read_bytes(path)

    with monkeypatch.context() as patched:
        # Root may read everything, and tests are often run as root: so the refusal is made here.
        patched.setattr(Path, "read_bytes", refuse)
        folder.build()
        problems = pd.read_parquet(folder.root.parent / "m.parquet")["problems"]
    assert problems[0] == "the file cannot be read: Permission denied"
    folder.build()
    assert pd.read_parquet(folder.root.parent / "m.parquet")["problems"].isna().all()


WORK = """
import sys
from pathlib import Path
from graft.data.stats_cache import StatsCache
from graft.data.ingest import ingested_table
from graft.data.manifest import build_manifest
from graft.data.sources.listing import Sample
from graft.modalities.image.modality import ImageModality
root, out = Path(sys.argv[1]), sys.argv[2]
files = sorted((root / "images").iterdir())
table = ingested_table({f"a/{file.name}": Sample(file, file.name, "a") for file in files})
build_manifest(table, files, ImageModality(), 1, StatsCache(root / "cache")).to_parquet(root / out, index=False)
"""


def test_two_processes_at_once_leave_a_whole_cache_and_the_same_manifest(folder: Folder) -> None:
    folder.add(*range(30))
    root = folder.root.parent
    both = [
        subprocess.Popen([sys.executable, "-c", WORK, str(root), f"{name}.parquet"], stderr=subprocess.PIPE)
        for name in "ab"
    ]
    assert [process.communicate()[1] for process in both] == [b"", b""]
    assert (root / "a.parquet").read_bytes() == (root / "b.parquet").read_bytes()
    assert len(folder.cache.load(folder.modality)) == 30
    assert [path.name for path in folder.cache.folder.iterdir()] == [FILE]
