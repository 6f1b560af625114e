"""Deterministic kernels, derived seeds, and memory that is not filled for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils import deterministic

from graft.core.determinism import derive_seed, make_deterministic, torch_generator
from graft.training.compute.devices import fabric_for
from graft.training.finetune import TrainingRun, finetune
from graft.training.strategies import scratch_plan
from tests.training.small import SETTINGS, digest, task, tiny


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What is fixed for a whole process is put back."""
    was, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    yield
    torch.use_deterministic_algorithms(was)
    torch.set_num_threads(threads)
    deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


def test_kernels_are_deterministic_and_threads_as_wanted() -> None:
    make_deterministic(1)
    assert torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == 1


@pytest.mark.parametrize("policy", [None, "mixup"])
def test_no_byte_depends_on_what_new_memory_holds(policy: str | None, tmp_path: Path) -> None:
    """Filled with NaN, a value that nobody wrote would make the weights NaN, or at least others."""
    digests = []
    for filled in (True, False):
        make_deterministic(1)
        assert deterministic.fill_uninitialized_memory is False  # type: ignore[attr-defined]
        deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        what = task(tmp_path / str(filled), policy)
        digests.append(
            digest(
                finetune(tiny(), scratch_plan(4, SETTINGS), what, TrainingRun(SETTINGS, 0, fabric_for("cpu"))).network
            )
        )
    assert digests[0] == digests[1]


def test_seeds_go_by_name_and_not_by_order() -> None:
    assert derive_seed(0, "a", 1) == derive_seed(0, "a", 1) != derive_seed(0, "a", 2)
    assert derive_seed(1, "a") != derive_seed(0, "a") and 0 <= derive_seed(0) < 2**63
    drawn = [torch.rand(3, generator=torch_generator(0, name)) for name in ("a", "b", "a")]
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1])
