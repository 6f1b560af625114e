"""What is kept from run to run: unchanged files are not read, changed ones are, and the manifest never differs."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graft
from graft.core import file_identity
from graft.core.code_version import code_of
from graft.core.file_identity import identify, read_steadily
from graft.data import image_stats, stats_cache
from graft.data.ingest import ingested_table
from graft.data.manifest import build_manifest
from graft.data.sources.listing import Sample
from graft.data.stats_cache import FactsCache, facts_version
from graft.modalities.image.stats import Facts
from tests.conftest import picture
from tests.waiting import until


class Folder:
    """Images with a cache beside them, and an account of what was read and what was decoded."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.cache = root / "images", FactsCache(root / "cache")
        self.root.mkdir()
        self.read: list[str] = []
        self.decoded = 0
        read_bytes, facts_of = file_identity.read_bytes, image_stats.facts_of

        def reading(path: Path) -> bytes:
            self.read.append(path.name)
            return read_bytes(path)

        def deciding(reading: file_identity.Reading) -> Facts:
            self.decoded += 1
            return facts_of(reading)

        monkeypatch.setattr(file_identity, "read_bytes", reading)
        monkeypatch.setattr(image_stats, "facts_of", deciding)

    def add(self, *numbers: int, rest_s: float = 60.0) -> None:
        """Write pictures that have been at rest for so long."""
        for number in numbers:
            picture(number).save(self.root / f"{number}.png")
        self.rest(rest_s)

    def rest(self, seconds: float) -> None:
        """Time cannot be turned back for ctime, so the clock that it is compared with goes on instead."""
        self.ahead_ns = int(seconds * 1e9)

    def build(self, workers: int = 1) -> pd.DataFrame:
        return self.built(self.cache, workers)

    def built(self, cache: FactsCache | None, workers: int = 1) -> pd.DataFrame:
        self.read, self.decoded = [], 0
        files = sorted(self.root.iterdir())
        table = ingested_table([Sample(file, file.name, "a") for file in files], [f"a/{file.name}" for file in files])
        return build_manifest(table, files, workers, cache)

    def parquet(self, manifest: pd.DataFrame) -> bytes:
        path = self.root.parent / "m.parquet"
        manifest.to_parquet(path, index=False)
        return path.read_bytes()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A folder whose files count as settled: the clock is a minute ahead of their times."""
    made = Folder(tmp_path, monkeypatch)
    made.rest(60)
    now = file_identity.time.time_ns
    monkeypatch.setattr(file_identity.time, "time_ns", lambda: now() + made.ahead_ns)
    return made


def test_what_has_not_changed_is_not_read_and_the_bytes_are_the_same(folder: Folder) -> None:
    folder.add(*range(6))
    (folder.root / "bad.jpg").write_text("text")
    first = folder.parquet(folder.build())
    assert len(folder.read) == folder.decoded == 7
    second = folder.parquet(folder.build())
    # What went wrong is looked at again: it may have been a passing trouble.
    assert folder.read.count("bad.jpg") == len(folder.read)
    assert first == second == folder.parquet(folder.built(None))


def test_a_rescan_with_nothing_new_writes_nothing(folder: Folder) -> None:
    folder.add(1, 2)
    (folder.root / "bad.jpg").write_text("text")
    folder.build()
    before = folder.cache.path.stat()
    folder.build()
    after = folder.cache.path.stat()
    # Not all of stat: reading may set the time of the last access.
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


def test_only_what_is_new_is_examined_and_it_is_put_where_it_belongs(folder: Folder) -> None:
    folder.add(1, 3, 5)
    folder.build()
    folder.add(2, 4)
    (folder.root / "3.png").unlink()
    manifest = folder.build()
    assert (set(folder.read), folder.decoded) == ({"2.png", "4.png"}, 2)
    assert folder.parquet(manifest) == folder.parquet(folder.built(None))


@pytest.mark.parametrize("workers", [1, 2])
def test_files_that_were_taken_in_anew_are_read_but_not_decoded(folder: Folder, workers: int) -> None:
    folder.add(*range(5))
    first = folder.parquet(folder.build(workers))
    for file in list(folder.root.iterdir()):
        shutil.copyfile(file, file.with_suffix(".new"))
        file.with_suffix(".new").replace(file)
    assert folder.parquet(folder.build()) == first
    assert (len(folder.read), folder.decoded) == (5, 0)
    folder.build()
    assert folder.read == []


def test_a_change_that_keeps_size_and_time_of_modification_is_seen(folder: Folder) -> None:
    for number in (1, 2):
        picture(number).save(folder.root / f"{number}.bmp")
    first, second = folder.root / "1.bmp", folder.root / "2.bmp"
    before = folder.build()
    seen = first.stat()

    def changed() -> bool:
        """Again, until the kernel's clock, which is coarse, has gone on."""
        first.write_bytes(second.read_bytes())
        os.utime(first, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        return first.stat().st_ctime_ns != seen.st_ctime_ns

    until(changed)
    assert (first.stat().st_size, first.stat().st_mtime_ns) == (seen.st_size, seen.st_mtime_ns)
    after = folder.build()
    assert before["pixel_sha256"].nunique() == 2
    assert after["pixel_sha256"].nunique() == 1


def test_a_file_that_was_just_written_is_not_trusted_by_its_times(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a tick of the clock a second change leaves the same times; here the same times are made by force."""
    folder.add(1, rest_s=0)
    file = folder.root / "1.png"
    # However slowly this test runs, it is looked at in the moment in which it was written, and a minute later below.
    monkeypatch.setattr(file_identity.time, "time_ns", lambda: file.stat().st_ctime_ns + folder.ahead_ns)
    assert identify(file) is None
    folder.build()
    folder.build()
    assert (folder.read, folder.decoded) == (["1.png"], 0)
    folder.rest(60)
    assert identify(file) is not None
    folder.build()
    assert folder.read == ["1.png"]
    folder.build()
    assert folder.read == []


def test_a_time_in_the_future_is_never_trusted(folder: Folder) -> None:
    folder.add(1)
    os.utime(folder.root / "1.png", (4e9, 4e9))
    for _ in range(3):
        folder.build()
    assert folder.read == ["1.png"]


def damage(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << (place % 8)
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "bit", "empty", "text", "folder"])
def test_a_damaged_cache_is_said_and_everything_is_found_anew(
    folder: Folder, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.add(1, 2)
    right = folder.parquet(folder.build())
    path = folder.cache.path
    data = path.read_bytes()
    if how == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"cut": data[:-2], "empty": b"", "text": b"text" * 20}.get(how, data))
    if how == "bit":
        damage(path, 1000)
    assert folder.parquet(folder.build()) == right
    assert folder.decoded == 2
    said = capsys.readouterr().err
    assert f"the facts kept in {path} cannot be used (" in said
    assert "every image is examined again" in said
    if how != "folder":
        folder.build()
        assert (folder.read, capsys.readouterr().err) == ([], "")


@given(place=st.integers(0, 10**6))
def test_no_bit_of_the_cache_can_be_turned_unseen(place: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = FactsCache(tmp_path_factory.mktemp("kept"))
    rows = image_stats._columns([(b"0" * 16, *image_stats._values(Facts(width=5, sha256="ab", brightness=0.5)))])
    cache.save(pa.Table.from_batches([rows]), cache.load())
    assert len(cache.load().rows) == 1
    damage(cache.path, place)
    assert len(cache.load().rows) == 0


def test_facts_of_another_version_are_not_used(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.add(1)
    folder.build()
    monkeypatch.setattr(stats_cache, "facts_version", lambda: "another")
    folder.build()
    assert folder.decoded == 1
    assert capsys.readouterr().err == ""


def test_the_version_follows_the_code_that_facts_follow_from_and_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(Path(graft.__file__).parent / "images", tmp_path / "images")
    monkeypatch.setattr(stats_cache, "code_of", partial(code_of, package=tmp_path))

    def version_with(name: str) -> str:
        with (tmp_path / "images" / name).open("a") as file:
            file.write("# another\n")
        return facts_version.__wrapped__()

    now = facts_version()
    assert facts_version.__wrapped__() == now
    assert version_with("doctor.py") == now
    assert version_with("decode.py") != now


def fail_with(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_cache_that_cannot_be_written_is_said_and_the_manifest_is_right(
    folder: Folder, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.add(1, 2)
    right = folder.parquet(folder.built(None))
    monkeypatch.setattr(stats_cache, "_write", fail_with(number))
    assert folder.parquet(folder.build()) == right
    assert capsys.readouterr().err == (
        f"the facts cannot be kept in {folder.cache.folder} ({os.strerror(number)}); the next run finds them again\n"
    )
    assert list(folder.cache.folder.iterdir()) == []


def test_what_is_known_of_another_folder_is_not_forgotten(folder: Folder, tmp_path: Path) -> None:
    folder.add(1, 2)
    folder.build()
    here, there = folder.root, tmp_path / "other"
    there.mkdir()
    folder.root = there
    folder.add(3)
    folder.build()
    folder.root = here
    folder.build()
    assert folder.read == []


# A file that changes while it is read.


def changing(monkeypatch: pytest.MonkeyPatch, change: Sequence[Callable[[Path], object]]) -> None:
    """After each reading of a file something is done to it."""
    read_bytes, left = file_identity.read_bytes, list(change)

    def reading(path: Path) -> bytes:
        data = read_bytes(path)
        if left:
            left.pop(0)(path)
        return data

    monkeypatch.setattr(file_identity, "read_bytes", reading)


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "1.png"
    picture(1).save(path)
    changing(monkeypatch, [lambda file: picture(2, (30, 30)).save(file)])
    reading = read_steadily(path)
    assert reading.data == path.read_bytes()
    assert image_stats.examine_one(path)[1] == 30


def test_a_file_that_never_stands_still_and_one_that_goes_are_problems_and_not_kept(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.add(1, 2)
    grow = [lambda file: file.write_bytes(file.read_bytes() + b"x")] * 3
    changing(monkeypatch, [*grow, Path.unlink])
    manifest = folder.build()
    assert manifest["problems"].tolist() == ["the file was changed while it was read", "there is no such file"]
    assert manifest["sha256"].isna().all()
    assert not folder.cache.path.exists()


def test_a_file_that_may_not_be_read_is_a_problem(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.add(1, 2)
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "1.png":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read_bytes(path)

    # Root may read everything, and tests are often run as root: so the refusal is made here.
    monkeypatch.setattr(Path, "read_bytes", refuse)
    problems = folder.build()["problems"]
    assert problems[0] == "the file cannot be read: Permission denied"
    assert problems.isna().tolist() == [False, True]
    monkeypatch.undo()
    assert folder.build()["problems"].isna().all()


# Two at once, in processes of their own.

WORK = """
import sys, time
from pathlib import Path
from graft.data.stats_cache import FactsCache
from graft.data.ingest import ingested_table
from graft.data.manifest import build_manifest
from graft.data.sources.listing import Sample
root, out = Path(sys.argv[1]), sys.argv[2]
files = sorted((root / "images").iterdir())
table = ingested_table([Sample(file, file.name, "a") for file in files], [f"a/{file.name}" for file in files])
build_manifest(table, files, 1, FactsCache(root / "cache")).to_parquet(root / out, index=False)
"""


def test_two_processes_at_once_leave_a_whole_cache_and_the_same_manifest(folder: Folder) -> None:
    folder.add(*range(30))
    root = folder.root.parent
    for _ in range(2):
        both = [
            subprocess.Popen([sys.executable, "-c", WORK, str(root), f"{name}.parquet"], stderr=subprocess.PIPE)
            for name in "ab"
        ]
        assert [process.communicate()[1] for process in both] == [b"", b""]
        assert [process.returncode for process in both] == [0, 0]
        assert (root / "a.parquet").read_bytes() == (root / "b.parquet").read_bytes()
    assert len(folder.cache.load().rows) == 30
    assert [path.name for path in folder.cache.folder.iterdir()] == [stats_cache.FILE]


def test_a_disk_that_fills_up_under_the_cache_is_said_and_leaves_nothing_half_written(folder: Folder) -> None:
    """A real limit, in a process of its own: no file may grow beyond 2,000 bytes, and the cache would."""
    folder.add(*range(40))
    root = folder.root.parent
    limited = f"import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n{WORK}".replace(
        "build_manifest(table", "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); m = build_manifest(table"
    ).replace(".to_parquet(root / out, index=False)", '; print(len(m), m["problems"].isna().sum())')
    # -B: of a module that is imported under the limit only a piece would be kept compiled, for everybody.
    done = subprocess.run(
        [sys.executable, "-B", "-c", limited, str(root), "m.parquet"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "40 40\n"), done.stderr
    assert done.stderr == (
        f"the facts cannot be kept in {folder.cache.folder} (File too large); the next run finds them again\n"
    )
    assert list(folder.cache.folder.iterdir()) == []
