"""A disk that is full while a checkpoint is written: the training goes on without, and says so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from graft.training.checkpoint import Checkpoint, CheckpointStore
from graft.training.compute.devices import fabric_for
from graft.training.finetune import TrainingRun, finetune
from graft.training.strategies import scratch_plan
from tests.training.small import SETTINGS, digest, task, tiny

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 128 KiB of its own, in memory: room for one of the small network's checkpoints."""
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("only root may mount a disk, and this one is Linux's")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("free", [0, 20_000])
def test_a_full_disk_costs_the_checkpoints_and_nothing_else(
    free: int, disk: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    what, plan, fabric = task(tmp_path / "store"), scratch_plan(4, SETTINGS), fabric_for("cpu")
    whole = digest(finetune(tiny(), plan, what, TrainingRun(SETTINGS, 0, fabric)).network)
    room = os.statvfs(disk)
    (disk / "ballast").write_bytes(b"x" * (room.f_bavail * room.f_frsize - free))
    kept = CheckpointStore(disk / "kept", seconds=0.0)
    assert digest(finetune(tiny(), plan, what, TrainingRun(SETTINGS, 0, fabric, kept)).network) == whole
    said = capfd.readouterr().err
    assert "warning: no checkpoint could be written (" in said and "No space left on device" in said
    assert "the training goes on without" in said and "remedy: make room there" in said
    left = [path for path in disk.rglob("*") if path.is_file() and path.name != "ballast"]
    assert left == [], "nothing half-written is left"


def test_the_last_good_checkpoint_outlives_a_disk_that_fills_up(disk: Path) -> None:
    """The second checkpoint does not fit beside the first: the first is still whole, and the one to go on from."""
    checkpoint, fabric = Checkpoint(disk / "kept" / "one.ckpt", 0.0), fabric_for("cpu")
    checkpoint.save(fabric, {"model": torch.zeros(10), "curve": [1]}, is_last=False)
    checkpoint.save(fabric, {"model": torch.zeros(100_000), "curve": [2]}, is_last=False)
    state = {"model": torch.ones(10), "curve": []}
    checkpoint.load(fabric, state)
    assert state["curve"] == [1] and not state["model"].any()
    assert [path.name for path in (disk / "kept").iterdir()] == ["one.ckpt"]
