"""An objective of one's own: its loss is minimised, its modules are trained and checkpointed, and none is delivered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graft.training.checkpoint import CheckpointStore
from graft.training.compute.devices import fabric_for
from graft.training.finetune import FineTuningData, Trained, TrainingRun, finetune
from graft.training.objectives.base import Batch
from graft.training.strategies import scratch_plan
from tests.training.small import SETTINGS, digest, task, tiny


class Tempered:
    """Cross-entropy of logits times a factor that is learned."""

    def __init__(self, end_at: int | None = None) -> None:
        self.scale = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.scale.weight)
        self.steps: list[tuple[int, int]] = []
        self.end_at = end_at

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"scale": self.scale}

    def loss(self, model: Callable[[Tensor], Tensor], batch: Batch, step: int) -> Tensor:
        if step == self.end_at:
            raise KeyboardInterrupt
        self.steps.append((step, batch.epoch))
        return F.cross_entropy(self.scale(model(batch.inputs)[..., None])[..., 0], batch.targets)

    def __str__(self) -> str:
        return "tempered"


def train(what: FineTuningData, objective: Tempered, kept: CheckpointStore | None = None) -> Trained:
    own = dataclasses.replace(what, objective=objective)
    return finetune(tiny(), scratch_plan(4, SETTINGS), own, TrainingRun(SETTINGS, 0, fabric_for("cpu"), kept))


def test_an_objective_is_minimised_with_its_own_modules(tmp_path: Path) -> None:
    what, objective = task(tmp_path), Tempered()
    trained = train(what, objective)
    assert objective.steps == [(step, step // 3) for step in range(6)]
    assert objective.scale.weight.item() != 1.0
    assert list(trained.network.state_dict()) == list(tiny().state_dict()), "nothing of it is delivered"
    plain = finetune(tiny(), scratch_plan(4, SETTINGS), what, TrainingRun(SETTINGS, 0, fabric_for("cpu")))
    assert digest(trained.network) != digest(plain.network)


def test_a_killed_training_goes_on_with_the_modules_of_its_objective(tmp_path: Path) -> None:
    what, kept = task(tmp_path), CheckpointStore(tmp_path / "kept", seconds=0.0)
    whole, killed, resumed = Tempered(), Tempered(end_at=4), Tempered()
    trained = train(what, whole)
    with pytest.raises(KeyboardInterrupt):
        train(what, killed, kept)
    assert digest(train(what, resumed, kept).network) == digest(trained.network)
    assert resumed.steps == [(3, 1), (4, 1), (5, 1)]
    assert torch.equal(resumed.scale.weight, whole.scale.weight)
