"""A disk that is full, and one that may only be read: a real one, small and in memory, ends stages in a message."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import picture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(workspace_with: Callable[..., Path]) -> Iterator[Path]:
    """A workspace on a disk of 400 KiB of its own."""
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("only root may mount a disk, and this one is Linux's")
    root = workspace_with(data={"source": "../images"})
    params = (root / "params.yaml").read_bytes()
    mount("-t", "tmpfs", "-o", "size=400k", "tmpfs", str(root))
    (root / "params.yaml").write_bytes(params)
    yield root
    subprocess.run(["umount", "-l", str(root)], check=True)


def stage(root: Path, name: str) -> tuple[int, str]:
    command = [sys.executable, "-m", f"graft.pipeline.{name}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def fill(root: Path, leave: int) -> Path:
    """Write until ``leave`` bytes are free."""
    ballast = root / "ballast"
    free = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
    ballast.write_bytes(b"x" * (free - leave))
    return ballast


def outputs(root: Path) -> set[str]:
    """Everything but what is kept between runs."""
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return {path for path in found if not path.startswith((".graft/", "ballast"))}


def test_a_full_disk_and_one_that_may_only_be_read(disk: Path, make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"cat": 6, "dog": 6})
    ballast = fill(disk, 8192)
    code, said = stage(disk, "ingest")
    assert code == 1
    assert "error: " in said and "No space left on device" in said and "remedy: " in said and "Traceback" not in said
    assert outputs(disk) == {"params.yaml"}
    ballast.unlink()
    assert stage(disk, "ingest") == (0, "")
    before = outputs(disk)
    ballast = fill(disk, 4096)
    code, said = stage(disk, "validate")
    assert (code, "No space left on device" in said, "Traceback" in said) == (1, True, False)
    assert outputs(disk) <= before | {"data/manifest.parquet"}
    ballast.unlink()
    assert stage(disk, "validate")[0] == 0
    before = outputs(disk)
    picture(900).save(folder / "cat/new.png")
    mount("-o", "remount,ro", str(disk))
    for name in ("ingest", "validate"):
        code, said = stage(disk, name)
        assert (code, "Traceback" in said) == (1, False)
        assert "Read-only file system" in said and "remedy: " in said
    assert outputs(disk) == before
