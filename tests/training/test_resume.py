"""A training that is killed goes on from its last checkpoint and gives the bytes that it would have given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pytest
import torch

from graft.core.settings import Train
from graft.training.checkpoint import Checkpoint, CheckpointStore
from graft.training.compute.devices import fabric_for
from graft.training.compute.precision import Mode, full_precision_mode
from graft.training.finetune import FineTuningData, Trained, TrainingRun, finetune
from graft.training.strategies import STRATEGIES
from graft.training.trainer import Trainer
from tests.training.small import SETTINGS, digest, task, tiny

# All that has a state of its own: dropout, an average, batch statistics, draws with replacement.
RICH = dataclasses.replace(
    SETTINGS,
    epochs=4,
    dropout=0.2,
    ema_decay=0.9,
    grad_clip_norm=1.0,
    imbalance="sampling",
    label_smoothing=0.1,
    learning_rate=0.02,
)
STEPS, EPOCHS = 3, 4


class KilledError(BaseException):
    """Not an Exception: nothing may catch it, as nothing catches a kill."""


@dataclass
class Fuse:
    """Ends a training before its step number ``at``, counted from 0; None: never."""

    at: int | None = None
    asked: int = 0

    def burn(self) -> None:
        if self.asked == self.at:
            raise KilledError
        self.asked += 1


@pytest.fixture
def fuse(monkeypatch: pytest.MonkeyPatch) -> Fuse:
    made = Fuse()

    def descend(*given: object, real: Callable[..., object] = Trainer._descend) -> object:
        made.burn()
        return real(*given)

    monkeypatch.setattr(Trainer, "_descend", descend)
    return made


@pytest.fixture
def kept(tmp_path: Path) -> CheckpointStore:
    """Keeps every epoch."""
    return CheckpointStore(tmp_path / "kept", seconds=0.0)


def train(
    what: FineTuningData, name: str, kept: CheckpointStore | None, settings: Train = RICH, mode: Mode | None = None
) -> Trained:
    """Train the small network by a strategy."""
    network = tiny()
    torch.seed()  # a process that starts again has drawn other numbers before, and so its network has another head
    network.head.reset_parameters()
    return finetune(
        network, STRATEGIES[name].plan(4, settings), what, TrainingRun(settings, 0, fabric_for("cpu"), kept, mode)
    )


def killed_at(step: int, what: FineTuningData, kept: CheckpointStore, fuse: Fuse, **other: Any) -> Path:
    """Train so many steps and be killed; the checkpoint."""
    fuse.at, fuse.asked = step, 0
    with pytest.raises(KilledError):
        train(what, other.pop("name", "finetune"), kept, **other)
    fuse.at, fuse.asked = None, 0
    (file,) = kept.folder.iterdir()
    return file


def assert_same(one: Trained, other: Trained) -> None:
    assert digest(one.network) == digest(other.network)
    assert (one.curve, one.epochs, one.precision) == (other.curve, other.epochs, other.precision)


@pytest.mark.parametrize(
    ("name", "policy"), [("finetune", None), ("finetune", "light"), ("finetune", "mixup"), ("scratch", None)]
)
def test_killed_in_every_epoch_and_still_the_same(
    name: str, policy: str | None, tmp_path: Path, fuse: Fuse, kept: CheckpointStore
) -> None:
    """One training is killed in the middle of each of its epochs, and goes on each time."""
    what = task(tmp_path, policy)
    whole = train(what, name, None)
    assert fuse.asked == STEPS * EPOCHS
    for _ in range(EPOCHS - 1):
        killed_at(STEPS + 1, what, kept, fuse, name=name)
    assert_same(train(what, name, kept), whole)
    assert fuse.asked == STEPS, "of each resumed training only what came after its checkpoint was done"


def test_killed_with_channels_last_and_still_the_same(tmp_path: Path, fuse: Fuse, kept: CheckpointStore) -> None:
    mode = Mode("32-true", channels_last=True, threads=1)
    what = task(tmp_path)
    whole = train(what, "finetune", None, mode=mode)
    killed_at(STEPS + 2, what, kept, fuse, mode=mode)
    assert_same(train(what, "finetune", kept, mode=mode), whole)
    assert digest(train(what, "finetune", None, mode=full_precision_mode(1)).network) != digest(whole.network)


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
def test_writing_checkpoints_changes_nothing(seconds: float, tmp_path: Path) -> None:
    what = task(tmp_path, "light")
    assert_same(
        train(what, "finetune", CheckpointStore(tmp_path / "kept", seconds=seconds)), train(what, "finetune", None)
    )


def test_a_finished_training_is_read_and_not_done_again(tmp_path: Path, fuse: Fuse) -> None:
    """However short it was."""
    what, kept = task(tmp_path), CheckpointStore(tmp_path / "kept")
    first = train(what, "finetune", kept)
    fuse.at, fuse.asked = 0, 0
    assert_same(train(what, "finetune", kept), first)
    kept.clear()
    assert not kept.folder.exists()
    with pytest.raises(KilledError):
        train(what, "finetune", kept)


def test_checkpoints_are_no_more_frequent_than_is_set(tmp_path: Path, fuse: Fuse) -> None:
    kept = CheckpointStore(tmp_path / "kept", seconds=3600.0)
    fuse.at = STEPS * EPOCHS - 1
    with pytest.raises(KilledError):
        train(task(tmp_path), "finetune", kept)
    assert not kept.folder.exists(), "an hour has not passed"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_checkpoint_is_said_and_the_training_starts_anew(
    damage: Callable[[Path], None], tmp_path: Path, fuse: Fuse, kept: CheckpointStore, capfd: pytest.CaptureFixture[str]
) -> None:
    what = task(tmp_path)
    whole = train(what, "finetune", None)
    file = killed_at(STEPS + 1, what, kept, fuse)
    damage(file)
    assert_same(train(what, "finetune", kept), whole)
    assert fuse.asked == STEPS * EPOCHS, "every step was done again"
    assert f"warning: the checkpoint {file} is damaged: the training starts anew\n" in capfd.readouterr().err


def test_what_a_killed_process_was_writing_is_never_read(tmp_path: Path, fuse: Fuse, kept: CheckpointStore) -> None:
    what = task(tmp_path)
    whole = train(what, "finetune", None)
    file = killed_at(STEPS + 1, what, kept, fuse)
    file.with_suffix(".part").write_bytes(b"half")
    assert_same(train(what, "finetune", kept), whole)
    assert [path.name for path in kept.folder.iterdir()] == [file.name]


@pytest.mark.parametrize(
    "other",
    [
        {"settings": dataclasses.replace(RICH, weight_decay=0.5)},
        {"identity": "another policy"},
        {"name": "scratch"},
        {"labels": True},
    ],
)
def test_a_checkpoint_of_something_else_is_never_taken(
    other: dict[str, object], tmp_path: Path, fuse: Fuse, capfd: pytest.CaptureFixture[str]
) -> None:
    what, kept = task(tmp_path), CheckpointStore(tmp_path / "kept", seconds=0.0)
    killed_at(STEPS + 1, what, kept, fuse)
    if "labels" in other:
        what = dataclasses.replace(what, labels=np.roll(what.labels, 1))
    kept = dataclasses.replace(kept, identity=str(other.get("identity", "")))
    settings = other.get("settings", RICH)
    assert isinstance(settings, Train)
    train(what, str(other.get("name", "finetune")), kept, settings)
    assert "going on" not in capfd.readouterr().err


@pytest.mark.parametrize("other", [{"control": False}, {"label_counts": (2,)}])
def test_what_decides_no_weights_goes_on_from_the_same_checkpoint(
    other: dict[str, Any], tmp_path: Path, fuse: Fuse, kept: CheckpointStore, capfd: pytest.CaptureFixture[str]
) -> None:
    what = task(tmp_path)
    killed_at(STEPS + 1, what, kept, fuse)
    train(what, "finetune", kept, dataclasses.replace(RICH, **other))
    assert "going on from the checkpoint" in capfd.readouterr().err


def test_what_was_unfrozen_is_unfrozen_again(
    tmp_path: Path, fuse: Fuse, kept: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault of others: a resumed run that freezes the backbone again, or wakes batch statistics."""
    what, seen = task(tmp_path), list[tuple[object, ...]]()
    burn = Trainer._descend

    def spy(self: Trainer, run: Any, loss: torch.Tensor) -> None:
        learning = [name for name, value in run.module.named_parameters() if value.requires_grad]
        training = [name for name, module in run.module.named_modules() if module.training]
        groups = [(len(g["params"]), g["lr"], g["weight_decay"], g["initial_lr"]) for g in run.optimizer.param_groups]
        seen.append((learning, training, groups, torch.get_rng_state().tolist()))
        burn(self, run, loss)

    monkeypatch.setattr(Trainer, "_descend", spy)
    train(what, "finetune", None)
    whole, seen[:] = list(seen), []
    killed_at(STEPS + 1, what, kept, fuse)
    seen.clear()
    train(what, "finetune", kept)
    assert seen == whole[STEPS:]


class Harmful:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, ("raise SystemExit('unpickled')",)


def test_a_checkpoint_is_not_unpickled(tmp_path: Path) -> None:
    file = tmp_path / "one.ckpt"
    torch.save({"curve": Harmful()}, file)
    with pytest.raises(UnpicklingError, match="Weights only load failed"):
        Checkpoint(file).load(fabric_for("cpu"), {"curve": []})
