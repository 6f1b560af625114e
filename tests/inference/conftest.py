"""A packaged model with its ONNX file, exported once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.conftest import Export, export, finetune, package

__all__ = ["export"]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, export: Export) -> Path:
    """The folder of a packaged model; read only."""
    root = tmp_path_factory.mktemp("runtime")
    finetune(root / "finetuned")
    return package(root, root / "finetuned", export).packaged


@pytest.fixture
def packaged(whole: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(whole, tmp_path / "packaged"))


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory, export: Export) -> Path:
    """A packaged model with other weights; read only."""
    root = tmp_path_factory.mktemp("other")
    finetune(root / "finetuned", seed=1)
    return package(root, root / "finetuned", export).packaged


Damage = Callable[[Path], None]
