"""A full disk under DVC's cache: a real one, small and in memory. The model in use stays, and one message says why."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from graft.errors import GraftError
from graft.packaged import version_of
from graft.versions.promote import promote
from graft.versions.promotions import history
from graft.versions.publish import publish
from tests.versions.conftest import Project, dvc

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
# Of the bytes of a model: one fits, two do not.
ROOM = 1.6


@pytest.fixture
def small_disk(tmp_path: Path, trained: list[Path]) -> Iterator[Path]:
    """A disk on which one model fits."""
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("only root may mount a disk, and this one is Linux's")
    disk = tmp_path / "disk"
    disk.mkdir()
    size = int(ROOM * sum(file.stat().st_size for file in trained[0].iterdir()))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_the_cache_is_full(project: Project, small_disk: Path) -> None:
    dvc(project.root, "cache", "dir", str(small_disk / "cache"))
    first = project.package(0)
    promote(project.workspace)
    project.package(1, 0.1)
    with pytest.raises(GraftError) as refused:
        promote(project.workspace)
    assert str(small_disk / "cache") in str(refused.value.where) and "room" in str(refused.value.remedy)
    assert version_of(project.workspace.promoted) == first and len(history(project.workspace)) == 1
    dvc(project.root, "cache", "dir", "--unset")
    dvc(project.root, "cache", "dir", str(project.root.parent / "larger"))
    promote(project.workspace)
    assert len(history(project.workspace)) == 2


def test_the_remote_is_full(project: Project, small_disk: Path) -> None:
    for number in (0, 1):
        project.package(number, 0.1)
        promote(project.workspace)
    with pytest.raises(GraftError) as refused:
        publish(project.workspace, str(small_disk / "remote"))
    assert str(small_disk / "remote") in str(refused.value.where)
    assert publish(project.workspace, str(project.root.parent / "larger")).verified == 10
