"""One flow at a time in a project, by real processes: who waits, who leaves, whose lock is taken over, who died."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.turn import BusyError, Record, is_over, recorded, records, turn
from graft.core.workspace import Workspace

HOLDER = """\
import sys
from pathlib import Path
from flows.turn import recorded, turn
from graft.core.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
with recorded(workspace, "other", "http://there/api"), turn(workspace, "other", "leave", print):
    print("held", flush=True)
    sys.stdin.read()  # until it is closed
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A project's folder, with a space in its path."""
    root = tmp_path / "a project"
    root.mkdir()
    return Workspace(root)


@contextmanager
def another(workspace: Workspace) -> Iterator[subprocess.Popen[str]]:
    """A process that has the turn until its standard input is closed."""
    command, root = [sys.executable, "-c", HOLDER, str(workspace.root)], Path(__file__).parents[2]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=root, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_who_is_told_to_leave_names_the_owner(workspace: Workspace) -> None:
    with (
        another(workspace) as other,
        pytest.raises(BusyError) as caught,
        turn(workspace, "mine", "leave", print),
    ):
        raise AssertionError("two have the turn")
    assert caught.value.what.startswith(f"another run is at work here: process {other.pid} on ")
    assert re.search(r", for \d+ min$", caught.value.what)  # a machine that stands still has more than none
    assert caught.value.remedy == "let it finish, or end that process; what it finished is kept"


def test_who_waits_says_for_whom_and_comes_next(workspace: Workspace) -> None:
    said: list[str] = []
    with another(workspace) as other:

        def let_it_end(line: str) -> None:
            said.append(line)
            assert other.stdin is not None
            other.stdin.close()

        with turn(workspace, "mine", "wait", let_it_end):
            assert other.wait(60) == 0, "the other one was not disturbed"
    assert len(said) == 1
    assert said[0].startswith(f"waiting for another run to finish: process {other.pid} on ")


def test_a_dead_owners_lock_is_taken_over_and_its_run_is_found(workspace: Workspace) -> None:
    with another(workspace) as other:
        assert [is_over(workspace, record) for record in records(workspace)] == [False]
        other.kill()
        other.wait()
        with turn(workspace, "mine", "leave", print):
            (found,) = records(workspace)
            assert is_over(workspace, found)
    assert (found.run, found.api, found.pid, found.state) == ("other", "http://there/api", other.pid, "")


def test_a_run_that_ended_says_how(workspace: Workspace) -> None:
    with recorded(workspace, "mine", "") as note:
        note("COMPLETED", "all is well")
        assert not is_over(workspace, records(workspace)[0])
    (record,) = records(workspace)
    assert (record.state, record.message) == ("COMPLETED", "all is well")
    assert is_over(workspace, record)


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    assert Record("mine", "", 7, "here", time.time() + 3600).describe() == "process 7 on here, for 0 min"


def test_an_owner_of_whom_nothing_can_be_read_is_still_in_the_way(workspace: Workspace) -> None:
    with another(workspace):
        (workspace.root / ".graft" / "flow.json").write_text(json.dumps({"pid": 1}))
        with pytest.raises(BusyError, match="a process that has only just begun"), turn(workspace, "a", "leave", print):
            pass
