"""Fixtures for every room: tiny generated images, folders of them, a workspace to run stages in, shared data."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import dvc.logger  # noqa: F401 - keeps the standard error of its first import for good; a test's own ends with the test
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image
from ruamel.yaml import YAML

from graft.core.compat.openmp import wait_briefly
from tests.skips import refused

wait_briefly()  # before any test imports torch: a busy machine must not make the suite ten times slower

# The same examples every time, and no time limit on a busy machine: a red test must mean a fault.
settings.register_profile("graft", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("graft")

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def picture(seed: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    """An RGB image with coarse structure of its own: unlike seeds give unlike pictures."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def write_classes(folder: Path, counts: dict[str, int], seed: int = 0, size: tuple[int, int] = (24, 20)) -> Path:
    """Write ``folder/<class>/<class>_<number>.png``, all pictures unlike; return ``folder``."""
    for position, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = folder / name / f"{Path(name).name}_{number:03d}.png"
            picture(seed + 10_000 * position + number, size).save(path)
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Random weights are the same in every run of a test, whichever tests its process ran before, and for fixtures."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI=true a test that skipped for want of a program or of data fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a worker of pytest-xdist, whose reports the controller has
        return
    skipped = refused(report.longrepr[2] for report in reporter.stats.get("skipped", []))
    if skipped:
        reporter.write_line(f"CI=true, and tests skipped: {'; '.join(skipped)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the doctor keeps lies in no user's home, and no test sees what another one kept."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def make_classes(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of class folders below ``tmp_path``."""

    def make(counts: dict[str, int], name: str = "images", **options: object) -> Path:
        return write_classes(tmp_path / name, counts, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def workspace_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A folder with a params.yaml, made the current one; sections are given as keywords."""

    def make(**sections: object) -> Path:
        root = tmp_path / "project"
        root.mkdir(exist_ok=True)
        values: dict[str, object] = {
            "zoo": {"candidates": [{"arch": "resnet18", "weights": "none", "size": 32}]},
            "select": {"folds": 2},
            **sections,
        }
        with (root / "params.yaml").open("w", encoding="utf-8") as file:
            YAML(typ="safe").dump(values, file)
        monkeypatch.chdir(root)
        return root

    return make


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the project; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the development data in {SHARED}")
    return SHARED
