"""A project's identity, and the lock that its runs hold in turn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.project import ProjectBusyError, project_id, project_lock
from graft.core.workspace import Workspace

ROOT = Path(__file__).parents[2]
HOLD = "import sys; from pathlib import Path\nfrom flows.project import project_lock\n"
HOLD += "from graft.core.workspace import Workspace\n"
HOLD += "with project_lock(Workspace(Path(sys.argv[1]))): print('held', flush=True); sys.stdin.read()"


@contextmanager
def locked_by_another(workspace: Workspace) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the project's lock."""
    command = [sys.executable, "-c", HOLD, str(workspace.root)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.kill()


def test_who_does_not_wait_is_refused_and_who_waits_is_told_until_the_other_dies(tmp_path: Path) -> None:
    workspace, said = Workspace(tmp_path), list[str]()
    with locked_by_another(workspace) as other:
        with pytest.raises(ProjectBusyError, match="another run is at work here"), project_lock(workspace):
            pass

        def kill_it(line: str) -> None:
            said.append(line)
            other.kill()  # the lock goes with the process

        with project_lock(workspace, on_wait=kill_it):
            pass
    assert said == [f"waiting: another run is at work here (`fuser {tmp_path / '.graft/flow.lock'}` tells its process)"]


def test_make_worker_takes_from_the_pool_of_this_folder(tmp_path: Path) -> None:
    (tmp_path / "flows").symlink_to(ROOT / "flows")
    command = [sys.executable, "-m", "flows.project"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{project_id(Workspace(tmp_path))}\n"
