"""reports/timing.json: what each stage took last time, in seconds and memory.

No output of DVC, for it differs from run to run. Stages may end at the same time, so rows are merged under a lock.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from graft.core.files import write_json
from graft.core.memory import peak_bytes, peak_bytes_of_children
from graft.core.workspace import Workspace
from graft.pipeline.inputs.planned import PLAN_FILE


@dataclass(frozen=True)
class StageTiming:
    """What one run of a stage took.

    Attributes:
        seconds: from taking the workspace's lock to its last file; starting Python is not counted.
        peak_memory_mb: most memory of one process, the stage's own or a child's, in megabytes of 1,000,000 bytes.
        ended: when, in ISO 8601 with the offset from UTC.
        failed: whether it ended in an error or was interrupted.
    """

    seconds: float
    peak_memory_mb: float
    ended: str
    failed: bool


@contextmanager
def timed(workspace: Workspace, stage: str) -> Iterator[None]:
    """Time what is done inside, and record it, also where that fails."""
    start, failed = time.monotonic(), True
    try:
        yield
        failed = False
    finally:
        peak = max(peak_bytes(), peak_bytes_of_children()) / 1e6
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        timing = StageTiming(round(time.monotonic() - start, 2), round(peak, 1), ended, failed)
        try:
            record_timing(workspace, stage, timing)
        except OSError as error:  # a full disk ends stages that have more to say than this
            print(f"{stage}: what it took is not recorded in {workspace.timing}: {error}", file=sys.stderr)


def record_timing(workspace: Workspace, stage: str, timing: StageTiming) -> None:
    """Put the row of ``stage`` into reports/timing.json in one step; a damaged file is begun anew.

    Raises:
        OSError: the file or its lock cannot be written.
    """
    from filelock import FileLock

    workspace.timing_lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(workspace.timing_lock):
        content = _read(workspace)
        write_json(workspace.timing, {**content, "stages": {**content["stages"], stage: asdict(timing)}})


def read_timings(workspace: Workspace) -> dict[str, StageTiming]:
    """The last run of each stage by its name, as far as the file is there and whole."""
    return {stage: timing for stage, row in _read(workspace)["stages"].items() if (timing := _parsed(row)) is not None}


def expected_seconds(workspace: Workspace) -> Mapping[str, float]:
    """What each stage is expected to take: as the plan says, else as long as the last time, where it succeeded."""
    last = {stage: timing.seconds for stage, timing in read_timings(workspace).items() if not timing.failed}
    return last | _planned(workspace)


def _planned(workspace: Workspace) -> dict[str, float]:
    """Seconds by stage of reports/plan/plan.json; none where it is not there, or damaged."""
    try:
        found = json.loads((workspace.plan / PLAN_FILE).read_text(encoding="utf-8"))["expected_s"]
        return {str(stage): float(seconds) for stage, seconds in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _read(workspace: Workspace) -> dict[str, Any]:
    """The file's content, whose ``stages`` is a mapping; of a file that is missing or damaged that alone."""
    try:
        content = json.loads(workspace.timing.read_text(encoding="utf-8"))
        return {**content, "stages": dict(content["stages"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"stages": {}}


def _parsed(row: Any) -> StageTiming | None:
    try:
        return StageTiming(float(row["seconds"]), float(row["peak_memory_mb"]), str(row["ended"]), bool(row["failed"]))
    except (KeyError, TypeError, ValueError):
        return None
