"""A hostile file system: nothing hangs, nothing crashes, every fault is named, and odd names survive taking in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from graft.core.errors import DataError
from graft.data.ingest import copy_images
from graft.data.sources.listing import SourceListing, SourceSpec
from graft.data.sources.registry import list_source
from graft.data.sources.source_links import link_source
from tests.conftest import picture, write_classes
from tests.data.sources.hostile import ODD_NAMES, clean, plant
from tests.modalities.image import faults

GRAFT = (sys.executable, "-m", "graft.cli.main")
# Somebody without rights, whom root can become; the interpreter must be theirs to read.
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def find(source: Path, follow_links: bool = False) -> SourceListing:
    return list_source(SourceSpec(str(source), Path(), Path("/nonexistent"), follow_links))


def why(found: SourceListing) -> dict[str, str]:
    return {item.path: item.why for item in found.skipped}


def graft(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    # A pipe or link in a circle would hang: the time limit is what makes that a failure.
    return subprocess.run([*GRAFT, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_names_every_fault_and_trains_on_the_rest(tmp_path: Path) -> None:
    folder = clean(tmp_path / "images")
    faults = plant(folder, tmp_path / "outside")
    (folder / "ants" / "empty.png").write_bytes(b"")
    done = graft("doctor", "--json", "images", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    said = json.loads(done.stdout)
    skipped = {item["path"]: item["why"] for item in said["skipped"]}
    assert set(skipped) == set(faults)
    for path, words in faults.items():
        assert words in skipped[path]
    broken = {item["check"]: item["sources"] for item in said["findings"] if not item["success"]}
    assert broken == {"decodable": ["ants/empty.png"]}
    assert said["images"] == 24 + len(ODD_NAMES) + 1


def test_every_planted_fault_of_names_links_and_contents_is_named_at_once(tmp_path: Path) -> None:
    folder = clean(tmp_path / "images")
    passed_over = plant(folder, tmp_path / "outside")
    planted = faults.plant(folder)
    done = subprocess.run([*GRAFT, "doctor", "--json", str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    said = json.loads(done.stdout)
    assert {item["path"] for item in said["skipped"]} == set(passed_over)
    named = {finding["check"]: set(finding["files"]) for finding in said["findings"] if not finding["success"]}
    assert named["decodable"] == {path for path, fault in planted.items() if fault.problem}
    for check in {check for fault in planted.values() for check in fault.checks}:
        assert named[check] == {path for path, fault in planted.items() if check in fault.checks}, check


def test_a_clean_folder_of_odd_names_raises_no_alarm(tmp_path: Path) -> None:
    clean(tmp_path / "images")
    done = graft("doctor", "images", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "warning" not in done.stdout and "critical" not in done.stdout and "passed over" not in done.stdout
    assert "would go ahead" in done.stdout and "all are met" in done.stdout


def test_odd_names_survive_taking_in(tmp_path: Path) -> None:
    folder = clean(tmp_path / "images")
    found = find(folder)
    table = copy_images(found.samples, tmp_path / "raw")
    table.to_parquet(tmp_path / "ingested.parquet", index=False)
    again = pd.read_parquet(tmp_path / "ingested.parquet")
    assert len(again) == 24 + len(ODD_NAMES) == again["path"].nunique() == again["path"].str.casefold().nunique()
    by_source = {item.source: item.file.read_bytes() for item in found.samples}
    for path, source in zip(again["path"], again["source"], strict=True):
        assert (tmp_path / "raw" / path).read_bytes() == by_source[source]
        assert len(Path(path).name.encode()) <= 255


def test_links_are_followed_out_where_that_is_asked_for_and_never_in_circles(tmp_path: Path) -> None:
    folder = clean(tmp_path / "images")
    before = {item.source for item in find(folder).samples}
    plant(folder, tmp_path / "outside")
    # A way back from outside, and a circle out there.
    (tmp_path / "outside" / "more" / "back").symlink_to(folder)
    (tmp_path / "outside" / "more" / "x" / "round").symlink_to(tmp_path / "outside" / "more")
    assert {item.source for item in find(folder).samples} == before
    found = find(folder, follow_links=True)
    added = {item.source: item.label for item in found.samples if item.source not in before}
    assert added == {
        "bees/out.png": "bees",
        "bees/out/x/x_000.png": "bees",
        "bees/out/x/x_001.png": "bees",
        "linked class/x_000.png": "linked class",
        "linked class/x_001.png": "linked class",
    }
    left = why(found)
    assert left["ants/up"] == left["ants/here"] == "a link to a folder of this data, which is read where it lies"
    assert left["bees/out/back"] == "a link to a folder of this data, which is read where it lies"
    assert left["bees/out/x/round"] == left["linked class/round/x"] == "a folder that was read already through a link"
    assert left["circle"] == "a link that leads nowhere"
    assert left["ants/null.png"] == "neither a file nor a folder"
    assert found.linked == folder / "bees" / "out" / "x"


def test_a_link_to_what_the_data_lies_in_is_never_followed(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "images", {"cat": 1, "dog": 1})
    (folder / "cat" / "above").symlink_to(tmp_path)
    assert why(find(folder, follow_links=True)) == {"cat/above": "a link to a folder that this data lies in"}


def test_split_folders_may_be_links_where_links_are_followed(tmp_path: Path) -> None:
    write_classes(tmp_path / "a", {"cat": 2, "dog": 2})
    write_classes(tmp_path / "b", {"cat": 1, "dog": 1})
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "train").symlink_to(tmp_path / "a")
    (folder / "test").symlink_to(tmp_path / "b")
    found = find(folder, follow_links=True)
    assert [(item.label, item.split) for item in found.samples if item.split == "test"] == [
        ("cat", "test"),
        ("dog", "test"),
    ]
    with pytest.raises(DataError, match="a link to a folder, which is not followed"):
        find(folder)


def test_what_lies_behind_a_followed_link_is_not_watched_and_that_is_said(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "images", {"cat": 1, "dog": 1})
    write_classes(tmp_path / "outside", {"bird": 1})
    (folder / "bird").symlink_to(tmp_path / "outside" / "bird")
    (tmp_path / "project").mkdir()
    link = tmp_path / "project" / "data" / ".links" / "data.source"
    assert link_source(find(folder), str(folder), link) is None
    trouble = link_source(find(folder, follow_links=True), str(folder), link)
    assert trouble == f"{folder / 'bird'} was read through a link out of {folder}"
    assert not link.is_symlink()


def test_folders_deeper_than_python_calls(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "images", {"cat": 1, "dog": 1})
    deep = folder / "cat"
    here = os.getcwd()  # noqa: PTH109
    try:
        os.chdir(deep)
        for _ in range(1500):
            os.mkdir("d")  # noqa: PTH102
            os.chdir("d")
        picture(77).save("deep.png")
    finally:
        os.chdir(here)
    found = find(folder)
    (tmp_path / "project").mkdir()
    trouble = link_source(found, str(folder), tmp_path / "project" / "data" / ".links" / "data.source")
    # Python's own ways to remove a tree call themselves once for each folder.
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    assert len(found.samples) == 3
    assert max(len(item.source) for item in found.samples) > 3000
    assert trouble is not None and trouble.endswith("lies more than 500 folders deep")


def test_a_tree_too_deep_for_a_path_is_said_to_be(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "images", {"cat": 1, "dog": 1})
    here = os.getcwd()  # noqa: PTH109
    try:
        os.chdir(folder / "cat")
        for _ in range(30):
            os.mkdir("d" * 200)  # noqa: PTH102
            os.chdir("d" * 200)
    finally:
        os.chdir(here)
    found = find(folder)
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    assert len(found.samples) == 2
    assert [item.why for item in found.skipped] == ["cannot be listed: File name too long"]


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".csv", "a\0b", "a\0b.csv", "~nobody-of-this-name/x"])
def test_a_source_that_no_file_system_takes_is_refused(name: str) -> None:
    with pytest.raises(DataError) as caught:
        find(Path(name))
    assert caught.value.remedy


def nobody(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run as somebody whom permissions stop: as nobody where this is root, else as oneself."""
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root is stopped by no permission, and there is no setpriv to become somebody else")
        prefix = NOBODY
        if subprocess.run(
            [*prefix, sys.executable, "-c", "import graft.cli.main"], capture_output=True, cwd="/"
        ).returncode:
            pytest.skip("nobody may not run this interpreter")
    environment = {**os.environ, "HOME": str(cwd), "TMPDIR": str(cwd), "GRAFT_CACHE": str(cwd / "cache")}
    return subprocess.run(
        [*prefix, *command], cwd=cwd, capture_output=True, text=True, timeout=120, check=False, env=environment
    )


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that anybody may enter and write in; pytest keeps its own to itself."""
    folder = Path(tempfile.mkdtemp(prefix="graft-open-"))
    folder.chmod(0o777)
    yield folder
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o700)
        for name in os.listdir(path):  # noqa: PTH208 - os.walk reads it only after it was opened here
            if Path(path, name).is_dir() and not Path(path, name).is_symlink():
                Path(path, name).chmod(0o700)
    shutil.rmtree(folder)


def test_an_unreadable_folder_and_file_are_named(open_folder: Path) -> None:
    folder = write_classes(open_folder / "images", {"cat": 12, "dog": 12})
    (folder / "dog" / "closed").mkdir(mode=0o000)
    (folder / "cat" / "secret.png").write_bytes(b"x")
    (folder / "cat" / "secret.png").chmod(0o000)
    (folder / "locked").mkdir()
    (folder / "dog" / "through.png").symlink_to("../locked/x.png")
    (folder / "locked").chmod(0o000)
    done = nobody(*GRAFT, "doctor", "--json", "images", cwd=open_folder)
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert {item["path"]: item["why"] for item in said["skipped"]} == {
        "dog/closed": "cannot be listed: Permission denied",
        "locked": "cannot be listed: Permission denied",
        "dog/through.png": "a link that leads nowhere",
    }
    (decodable,) = [item for item in said["findings"] if item["check"] == "decodable"]
    assert decodable["sources"] == ["cat/secret.png"]
    assert decodable["details"] == ["the file cannot be read: Permission denied"]
    assert done.returncode == 1


# The rest of `graft doctor` without what it imports: each of these runs in a process of its own.
PROBE = """
import sys
from pathlib import Path
from graft.core.exit_code import exit_code
from graft.data.doctor.cleaned_copy import write_cleaned_copy
from graft.data.ingest import copy_images
from graft.data.sources.listing import SourceSpec
from graft.data.sources.registry import list_source
found = []
work = {
    "find": lambda: None,
    "clean": lambda: write_cleaned_copy(found[0], {}, Path("closed/clean.csv")),
    "place": lambda: copy_images(found[0].samples, Path("raw")),
}[sys.argv[1]]
sys.exit(exit_code(lambda: found.append(list_source(SourceSpec("images", Path(), Path())))) or exit_code(work))
"""


def test_a_source_that_may_not_be_read_at_all(open_folder: Path) -> None:
    (open_folder / "images").mkdir(mode=0o000)
    done = nobody(sys.executable, "-c", PROBE, "find", cwd=open_folder)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the folder cannot be listed: Permission denied\n")


def test_a_read_only_target_is_refused_and_nothing_is_left(open_folder: Path) -> None:
    write_classes(open_folder / "images", {"cat": 1, "dog": 1})
    (open_folder / "closed").mkdir(mode=0o555)
    done = nobody(sys.executable, "-c", PROBE, "clean", cwd=open_folder)
    assert done.returncode == 1
    assert done.stderr == (
        "error: the cleaned copy cannot be written: Permission denied\n"
        "  where: closed/clean.csv\n"
        "  remedy: name a place that may be written and has space left\n"
    )
    assert list((open_folder / "closed").iterdir()) == []


def test_taking_in_to_a_read_only_target_is_refused(open_folder: Path) -> None:
    write_classes(open_folder / "images", {"cat": 1, "dog": 1})
    (open_folder / "raw").mkdir()
    for name in ("cat", "dog"):
        (open_folder / "raw" / name).mkdir(mode=0o555)
    done = nobody(sys.executable, "-c", PROBE, "place", cwd=open_folder)
    assert done.returncode == 1
    assert done.stderr == (
        "error: the image cannot be taken in: Permission denied\n  where: raw/cat/cat_000.png\n"
        "  remedy: check that it is still there and may be read, and that there is space left\n"
    )
    assert [path for path in (open_folder / "raw").rglob("*") if path.is_file()] == []


def test_a_pipe_in_a_table_is_no_file(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cat": 2, "dog": 2})
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "t.csv").write_text("path,label\ncat/cat_000.png,cat\ndog/dog_000.png,dog\npipe.png,dog\n")
    with pytest.raises(DataError, match=r"1 of the 3 files that the table lists are not there: pipe\.png"):
        find(tmp_path / "t.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError):
        find(tmp_path / "pipe.csv")
