"""Hashes of code: they follow every file that a pattern fits, and a pattern that fits none is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from graft.core.code_version import code_of
from graft.core.files import sha256


def test_every_file_that_fits_is_named_with_its_hash(tmp_path: Path) -> None:
    (tmp_path / "zoo").mkdir()
    for name in ("b.py", "a.py", "c.txt"):
        (tmp_path / "zoo" / name).write_text(name)
    assert code_of(["zoo/*.py"], tmp_path) == [
        f"zoo/{name} {sha256(tmp_path / 'zoo' / name)}" for name in ("a.py", "b.py")
    ]


def test_a_pattern_that_fits_no_file_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no code fits 'zoo/was_renamed\.py', by which results are kept"):
        code_of(["zoo/was_renamed.py"], tmp_path)
