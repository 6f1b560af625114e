"""A test that skips in silence proves nothing: in continuous integration the run fails where a program is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SKIPPING = "import pytest\ndef test_that_needs_something(): pytest.skip({reason!r})\n"


@pytest.mark.parametrize(
    ("ci", "reason", "code"),
    [
        ("true", "needs a Chromium in the PATH (Debian's package chromium)", 1),
        ("true", "needs the development data in ../shared/data", 1),
        ("true", "this machine has a GPU", 0),
        ("", "needs a Chromium in the PATH (Debian's package chromium)", 0),
    ],
)
@pytest.mark.parametrize("workers", [[], ["-n", "1"]])
def test_a_skip_for_want_of_something_fails_the_run_in_ci(
    ci: str, reason: str, code: int, workers: list[str], tmp_path: Path
) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_sessionfinish\n", encoding="utf-8")
    test = tmp_path / "test_it.py"
    test.write_text(SKIPPING.format(reason=reason), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), *workers]
    done = subprocess.run(
        [*command, str(test)],
        cwd=ROOT,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert (f"CI=true, and tests skipped: {reason}" in done.stdout) == bool(code)
