"""The list of architectures: quick, because it stands in a file, and true, because the file is compared here."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from graft.cli import zoo


@pytest.fixture(autouse=True)
def _empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRAFT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("TORCH_HOME", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_the_file_says_what_the_libraries_say() -> None:
    """After other versions in requirements.lock: `python -m graft.cli.zoo` writes it anew."""
    assert json.loads((files("graft.models.zoo") / "published.json").read_text(encoding="utf-8")) == zoo.tabulate()
    assert list(zoo._of_the_file("resnet*")) == list(zoo._looked_up("resnet*"))
    assert list(zoo._of_the_file("*"))[-3:] == list(zoo._looked_up("timm:tf_efficientnet_lite[012]"))


def test_neither_torch_nor_timm_is_imported_for_it(tmp_path: Path) -> None:
    """They take four seconds of a processor."""
    code = (
        "import sys; from graft import cli; from graft.cli.zoo import list_zoo; list_zoo('*', False); "
        "list_zoo('resnet*', True); print(*sorted({'torch', 'torchvision', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[-1] == ""
    assert lines[84] == "and 1368 more of timm: `graft zoo 'timm:*'`, or a narrower pattern"
    assert {json.loads(line)["arch"] for line in lines[85:-1]} >= {"resnet18", "resnet50"}


def test_other_versions_than_the_files_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "version", lambda name: "0.0.1")
    zoo.published.cache_clear()
    assert list(zoo._of_the_file("*")) == []
    zoo.published.cache_clear()


def test_weights_that_were_downloaded_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "XDG_CACHE_HOME" / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    path.touch()
    (entry,) = zoo._of_the_file("resnet18")
    assert entry.offline == ("pretrained", "source", "none")
