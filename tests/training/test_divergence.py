"""A number that is not finite ends the training at its step, names it, and leaves nothing broken behind."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from graft.core.errors import TrainingError, WeightsError
from graft.inference.artifact import Artifact, save_artifact
from graft.models.backbone import Network
from graft.models.zoo.registry import builder_for
from graft.training.checkpoint import CheckpointStore
from graft.training.compute.devices import FULL_PRECISION, fabric_for, precision_of
from graft.training.divergence import NAMED, DivergedError, diverged
from graft.training.finetune import TrainingRun, finetune
from graft.training.inputs import CachedActivations
from graft.training.schedule import rate_at
from graft.training.strategies import Plan, Stage, scratch_plan
from graft.training.trainer import StageData
from tests.training.small import COUNT, LABELS, SETTINGS, SIZE, digest, fit_stage, task, tiny

NAMES = tuple(f"{number:02d}.png" for number in range(COUNT))


def test_the_step_the_rate_and_the_batch_are_named(tmp_path: Path) -> None:
    """One image gives a feature that is no number: the error comes with its batch, and names it."""
    what, network = task(tmp_path), tiny()
    features = what.extractor.activations(network, 4, what.rows).clone()
    features[5] = math.nan
    stage = Stage("head", 4, 1, 0.01, 0.0, False)
    seen: list[object] = []
    some = StageData(CachedActivations(features), torch.from_numpy(LABELS), NAMES)
    with pytest.raises(DivergedError) as caught:
        fit_stage(network, stage, some, after_step=seen.append)
    step = len(seen)
    what_is_said, *rest = caught.value.message().splitlines()
    assert (
        what_is_said
        == f"the loss is nan in stage 'head', epoch 0, step {step}, at the rate {0.01 * rate_at(step, 0, 3):.3g}"
    )
    named = rest[0].removeprefix("  batch: ").split(", ")
    assert len(named) == 8 and "05.png" in named and set(named) <= set(NAMES)
    assert rest[1:] == [
        "  where: train.learning_rate",
        "  remedy: lower the learning rate or set train.grad_clip_norm, and look at the validation report for "
        "odd images",
    ]
    assert isinstance(caught.value, TrainingError)


def test_of_a_large_batch_some_are_named_and_the_rest_is_counted() -> None:
    said = diverged("the loss is inf", "stage 'x', epoch 0, step 0", 0.001, NAMES).message()
    assert f"batch: {', '.join(NAMES[:NAMED])} and {COUNT - NAMED} more\n" in said


def test_weights_that_break_in_the_last_step_are_found(tmp_path: Path) -> None:
    """The loss of the only step is finite; what it makes of the weights is not."""
    network = tiny()
    with torch.no_grad():
        network.head.weight.fill_(3e38)
        network.head.bias.fill_(0)
    stage = Stage("head", 4, 1, -1e38, 0.0, False)
    settings = dataclasses.replace(SETTINGS, batch_size=COUNT, weight_decay=10.0)
    some = StageData(CachedActivations(torch.zeros(COUNT, 16)), torch.from_numpy(LABELS))
    with pytest.raises(DivergedError, match=r"^weights are not finite in stage 'head', epoch 0, after its last step"):
        fit_stage(network, stage, some, settings)


class Breaks(nn.Module):
    """Passes on what it gets, and from its pass number ``after`` on while training what is no number."""

    def __init__(self, after: int, only: str = "") -> None:
        super().__init__()
        self.left, self.only = after, only

    def forward(self, x: Tensor) -> Tensor:
        if self.only == "bf16" and not torch.is_autocast_enabled("cpu"):
            return x
        self.left -= self.training
        return x * math.nan if self.left < 0 else x


def breaking(after: int, only: str = "") -> Network:
    network = tiny()
    network.blocks[1].append(Breaks(after, only))
    return network


def test_the_last_good_checkpoint_is_kept_and_nothing_else(tmp_path: Path) -> None:
    kept = CheckpointStore(tmp_path / "kept", seconds=0.0)
    with pytest.raises(DivergedError, match="stage 'from scratch', epoch 1, step 1"):
        finetune(
            breaking(4), scratch_plan(4, SETTINGS), task(tmp_path), TrainingRun(SETTINGS, 0, fabric_for("cpu"), kept)
        )
    (file,) = kept.folder.iterdir()
    saved = torch.load(file, weights_only=True)
    assert [point["epoch"] for point in saved["curve"]] == [0]
    assert all(bool(value.isfinite().all()) for value in saved["model"].values() if value.is_floating_point())


def test_weights_that_are_not_finite_are_never_kept(tmp_path: Path) -> None:
    kept = CheckpointStore(tmp_path / "kept", seconds=0.0)
    plan = Plan(False, Stage("from scratch", 0, 2, math.inf, math.inf, True))
    settings = dataclasses.replace(SETTINGS, batch_size=COUNT)
    with pytest.raises(DivergedError, match="weights are not finite in stage 'from scratch', epoch 0, after its last"):
        finetune(tiny(), plan, task(tmp_path), TrainingRun(settings, 0, fabric_for("cpu"), kept))
    assert not kept.folder.exists()


@pytest.mark.parametrize("kept", [False, True])
def test_half_precision_that_diverges_is_done_once_more_in_full(
    kept: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    half = fabric_for("cpu", "bf16-mixed")
    assert (precision_of(half), precision_of(fabric_for("cpu"))) == ("bf16-mixed", FULL_PRECISION)
    store = CheckpointStore(tmp_path / "kept", seconds=0.0) if kept else None
    what, plan = task(tmp_path), scratch_plan(4, SETTINGS)
    trained = finetune(breaking(4, "bf16"), plan, what, TrainingRun(SETTINGS, 0, half, store))
    said = capfd.readouterr().err
    assert "warning: the loss is nan in stage 'from scratch', epoch 1, step 1" in said
    assert "in bf16-mixed: once more in 32-true" in said
    assert trained.precision == FULL_PRECISION
    whole = finetune(tiny(), plan, what, TrainingRun(SETTINGS, 0, fabric_for("cpu")))
    assert digest(trained.network) == digest(whole.network), "as if it had been done so from the start"
    sound = finetune(tiny(), plan, what, TrainingRun(SETTINGS, 0, half))
    assert sound.precision == "bf16-mixed" and digest(sound.network) != digest(whole.network)


def test_it_is_done_once_more_only_once(tmp_path: Path) -> None:
    with pytest.raises(DivergedError):
        finetune(
            breaking(0),
            scratch_plan(4, SETTINGS),
            task(tmp_path),
            TrainingRun(SETTINGS, 0, fabric_for("cpu", "bf16-mixed")),
        )


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("part", ["head.weight", "blocks.0.1.running_var"])
def test_no_model_is_saved_with_weights_that_are_not_finite(value: float, part: str, tmp_path: Path) -> None:
    network = tiny()
    network.state_dict()[part].view(-1)[0] = value
    artifact = Artifact(
        ("a", "b", "c"), "resnet18", "none", None, builder_for("resnet18").preprocessing("resnet18", SIZE)
    )
    with pytest.raises(WeightsError) as caught:
        save_artifact(tmp_path / "model", artifact, network)
    assert caught.value.message() == (
        f"the model has weights that are not finite, first in {part!r}; it is not saved\n"
        f"  where: {tmp_path / 'model'}\n  remedy: train it again at a lower learning rate"
    )
    assert list(tmp_path.iterdir()) == []
