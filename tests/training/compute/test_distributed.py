"""Two processes train as one does: the same network within rounding, and one of them writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from graft.core.errors import ConfigError, TrainingError
from graft.core.settings import Compute
from graft.training.checkpoint import CheckpointStore
from graft.training.compute.distributed import distributed_fabric, launch, local_indices, loss_weight, written_once
from graft.training.finetune import TrainingRun, finetune
from graft.training.strategies import finetune_plan as finetune_plan
from tests.training.small import COUNT, LABELS, SETTINGS, task, tiny

# Shares of unlike size: 24 images in batches of 7 or 6 or so.
UNEVEN = dataclasses.replace(SETTINGS, batch_size=7, imbalance="loss", grad_clip_norm=1.0)


def fake(size: int, rank: int) -> Any:
    return SimpleNamespace(world_size=size, global_rank=rank)


@given(st.integers(1, 40), st.integers(1, 5), st.booleans())
def test_shares_make_up_the_batch_and_their_means_the_mean(images: int, processes: int, weighted: bool) -> None:
    batch = torch.randperm(COUNT)[:images] if images <= COUNT else torch.arange(images) % COUNT
    labels = torch.from_numpy(LABELS)
    of_images = torch.tensor([0.2, 1.0, 3.0])[labels] if weighted else None
    losses = torch.rand(COUNT)
    weights = torch.ones(COUNT) if of_images is None else of_images
    parts = [local_indices(batch, fake(processes, rank)) for rank in range(processes)]
    if len(batch) < processes:
        assert all(torch.equal(part, batch) for part in parts)
    else:
        assert torch.equal(torch.cat(parts), batch)

    def mean(part: torch.Tensor) -> float:
        return float((weights[part] * losses[part]).sum() / weights[part].sum())

    counted = [
        mean(part) * loss_weight(part, batch, of_images, fake(processes, rank)) for rank, part in enumerate(parts)
    ]
    assert float(np.mean(counted)) == pytest.approx(mean(batch), rel=1e-5)


def trained_in(fabric: Any, folder: Path) -> None:
    """Work of one process: fine-tune the small network, and let the first process write it."""
    network = tiny()
    # Dropout draws anew for every share.
    network.neck[1] = torch.nn.Identity()
    plan = finetune_plan(len(network.blocks), UNEVEN)
    # Each process has its own folder for what it keeps: the point here is training.
    job = task(folder / f"cache{fabric.global_rank}")
    result = finetune(
        network, plan, job, TrainingRun(UNEVEN, 0, fabric, CheckpointStore(folder / "checkpoints", seconds=0.0))
    )
    with written_once(folder / "out", fabric) as out:
        save_file(result.network.state_dict(), out / "network.safetensors")


@pytest.mark.slow
def test_two_processes_give_the_network_of_one(tmp_path: Path) -> None:
    launch(trained_in, Compute(device="cpu"), tmp_path / "one")
    launch(trained_in, Compute(device="cpu", devices=2), tmp_path / "two")
    one, two = (load_file(tmp_path / name / "out" / "network.safetensors") for name in ("one", "two"))
    moved = tiny().state_dict()
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-4)
    assert any(not torch.allclose(one[name], moved[name]) for name in one if name.startswith("blocks.3"))


def refuses(fabric: Any, folder: Path) -> None:
    raise TrainingError("the loss is nan", where="train.learning_rate", remedy="lower it")


@pytest.mark.slow
def test_an_error_crosses_from_the_processes_as_one_message(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        launch(refuses, Compute(device="cpu", devices=2), tmp_path)
    assert caught.value.message() == "the loss is nan\n  where: train.learning_rate\n  remedy: lower it"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_more_gpus_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        distributed_fabric(Compute(device="cuda", devices=4))
    assert caught.value.message() == (
        "4 devices are to train together, and this machine has 0 GPUs\n  where: compute.devices\n"
        "  remedy: ask for fewer, or set compute.device: cpu"
    )
