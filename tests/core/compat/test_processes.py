"""A process that ends with the one that started it: also where that was over before anybody could ask for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NOBODY = 2**22 + 1  # no process has this number: Linux gives none above 2^22
ASK = (
    "import sys; from graft.core.compat.processes import end_with_parent; "
    "end_with_parent(int(sys.argv[1])); print('alive')"
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be asked")


def python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    paths = {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        command, env={**os.environ, **paths, **environment}, capture_output=True, text=True, timeout=240
    )


def test_it_lives_while_its_parent_does() -> None:
    assert python(ASK, os.getpid()).stdout == "alive\n"


def test_it_ends_with_its_parent() -> None:
    child = "import time; from graft.core.compat.processes import end_with_parent; end_with_parent(); "
    child += "print('begun', flush=True); time.sleep(600)"
    parent = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE)
child.stdout.readline()
os.kill(os.getpid(), 9)
"""
    # The child holds this process's standard error: it is read to its end only when both are over.
    assert python(parent).returncode == -signal.SIGKILL


def test_it_ends_where_its_parent_was_over_before() -> None:
    ended = python(ASK, NOBODY)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "")


def test_python_sh_knows_who_started_a_stage_and_the_stage_asks(tmp_path: Path) -> None:
    there = tmp_path / ".venv" / "bin" / "python"
    there.parent.mkdir(parents=True)
    there.write_text('#!/bin/sh\necho "$GRAFT_PARENT"\n')
    there.chmod(0o755)
    said = subprocess.run(
        ["sh", ROOT / "src/graft/python.sh"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert said.stdout == f"{os.getpid()}\n"
    stage = (
        "import os; from graft.pipeline.execution.runner import run_stage; "
        "run_stage('toy', lambda *_: print(dict(os.environ)))"
    )
    orphan = python(stage, GRAFT_PARENT=str(NOBODY))
    assert (orphan.returncode, orphan.stdout) == (-signal.SIGKILL, "")
