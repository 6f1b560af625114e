"""A training that is killed goes on from its last checkpoint and gives the bytes that it would have given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.settings import Train
from graft.train import finetune as finetuning
from graft.train import loop
from graft.train.checkpoints import Checkpoints, Keeper
from graft.train.devices import fabric_for
from graft.train.finetune import Task, Trained, finetune
from graft.train.plan import STRATEGIES
from graft.train.precision import Mode, plain
from graft.train.underway import Underway
from tests.train.small import SETTINGS, digest, task, tiny

# All that has a state of its own: dropout, an average, batch statistics, draws with replacement.
RICH = dataclasses.replace(
    SETTINGS,
    finetune_epochs=4,
    dropout=0.2,
    ema_decay=0.9,
    clip_norm=1.0,
    imbalance="sampling",
    label_smoothing=0.1,
    learning_rate=0.02,
    checkpoint_seconds=0.0,
)


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

    def descend(*given: object, real: Callable[..., object] = loop._descend) -> object:
        made.burn()
        return real(*given)

    monkeypatch.setattr(loop, "_descend", descend)
    return made


def train(
    what: Task,
    name: str,
    keeper: Keeper | None,
    settings: Train = RICH,
    *,
    solve: bool = True,
    mode: Mode | None = None,
) -> Trained:
    """Without ``solve`` no head is fitted first."""
    plan = STRATEGIES[name].plan(4, settings)
    plan = dataclasses.replace(plan, head_first=plan.head_first and solve)
    network = tiny()
    torch.seed()  # a process that starts again has drawn other numbers before, and so its network has another head
    network.head.reset_parameters()
    return finetune(network, plan, what, settings, 0, fabric_for("cpu"), keeper, mode)


def assert_same(one: Trained, other: Trained) -> None:
    assert digest(one.network) == digest(other.network)
    assert (one.curve, one.epochs, one.precision) == (other.curve, other.epochs, other.precision)


@pytest.mark.parametrize(
    ("name", "policy"), [("finetune", None), ("finetune", "light"), ("finetune", "mixup"), ("scratch", None)]
)
def test_killed_after_every_step_and_still_the_same(name: str, policy: str | None, tmp_path: Path, fuse: Fuse) -> None:
    """One training is killed once at each of its steps, and goes on each time."""
    what = task(tmp_path, policy)
    whole = train(what, name, None, solve=False)
    steps, fuse.at = fuse.asked, 1
    keeper = Keeper(tmp_path / "kept", 0.0)
    kills = 0
    while True:
        fuse.asked = 0
        try:
            resumed = train(what, name, keeper, solve=False)
        except KilledError:
            kills += 1
            assert kills < 2 * steps
            continue
        break
    assert_same(resumed, whole)
    # It went on by one step each time: no step was done twice.
    assert kills == steps - 1


def test_killed_with_channels_last_and_still_the_same(tmp_path: Path, fuse: Fuse) -> None:
    """A checkpoint has its values in plain order, and what goes on has them channels last again."""
    mode = Mode("32-true", channels_last=True, threads=1)
    what, keeper = task(tmp_path), Keeper(tmp_path / "kept", 0.0)
    whole = train(what, "finetune", None, solve=False, mode=mode)
    fuse.asked = 0
    for fuse.at in (4, 2, 3):
        fuse.asked = 0
        with pytest.raises(KilledError):
            train(what, "finetune", keeper, solve=False, mode=mode)
    fuse.at = None
    assert_same(train(what, "finetune", keeper, solve=False, mode=mode), whole)
    assert digest(train(what, "finetune", None, solve=False, mode=plain(1)).network) != digest(whole.network)


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
def test_writing_checkpoints_changes_nothing(seconds: float, tmp_path: Path) -> None:
    what = task(tmp_path, "light")
    assert_same(train(what, "finetune", Keeper(tmp_path / "kept", seconds)), train(what, "finetune", None))


def test_a_finished_training_is_read_and_not_done_again(tmp_path: Path, fuse: Fuse) -> None:
    what, keeper = task(tmp_path), Keeper(tmp_path / "kept", 0.0)
    first = train(what, "finetune", keeper)
    fuse.at, fuse.asked = 0, 0
    assert_same(train(what, "finetune", keeper), first)
    (folder,) = keeper.folder.iterdir()
    assert [path.name for path in folder.iterdir()] == ["finished"], "its checkpoints are gone"
    keeper.clear()
    assert not keeper.folder.exists()
    with pytest.raises(KilledError):
        train(what, "finetune", keeper)


def kept_after(steps: int, what: Task, name: str, keeper: Keeper, fuse: Fuse) -> Path:
    """Train so many steps and be killed; the folder of the checkpoints."""
    fuse.at, fuse.asked = steps, 0
    with pytest.raises(KilledError):
        train(what, name, keeper)
    fuse.at = None
    (folder,) = keeper.folder.iterdir()
    return folder


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize("file", ["tensors.safetensors", "facts.json"])
def test_a_damaged_checkpoint_falls_back_one_and_says_so(
    damage: Callable[[Path], None], file: str, tmp_path: Path, fuse: Fuse, capfd: pytest.CaptureFixture[str]
) -> None:
    what, keeper = task(tmp_path), Keeper(tmp_path / "kept", 0.0)
    whole = train(what, "finetune", None)
    folder = kept_after(8, what, "finetune", keeper, fuse)
    assert sorted(path.name for path in folder.iterdir()) == ["000007", "000008"], "the two latest are kept"
    damage(folder / "000008" / file)
    fuse.asked = 0
    assert_same(train(what, "finetune", keeper), whole)
    said = capfd.readouterr().err
    assert f"warning: the checkpoint {folder}/000008 is damaged; going back to the one before it\n" in said
    assert f"going on from the checkpoint {folder}/000007\n" in said


def test_when_both_are_damaged_it_starts_anew_and_says_so(
    tmp_path: Path, fuse: Fuse, capfd: pytest.CaptureFixture[str]
) -> None:
    what, keeper = task(tmp_path), Keeper(tmp_path / "kept", 0.0)
    fuse.asked = 0
    whole = train(what, "finetune", None)
    steps = fuse.asked
    folder = kept_after(8, what, "finetune", keeper, fuse)
    for number in ("000007", "000008"):
        flip(folder / number / "tensors.safetensors")
    fuse.asked = 0
    assert_same(train(what, "finetune", keeper), whole)
    assert fuse.asked == steps, "every step was done again"
    said = capfd.readouterr().err
    assert f"the checkpoint {folder}/000007 is damaged; none is left: the training starts anew\n" in said


def test_a_damaged_end_is_done_again_and_said_to_be(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    what, keeper = task(tmp_path), Keeper(tmp_path / "kept", 0.0)
    first = train(what, "finetune", keeper)
    (folder,) = keeper.folder.iterdir()
    flip(folder / "finished" / "tensors.safetensors")
    assert_same(train(what, "finetune", keeper), first)
    assert f"warning: the finished training {folder}/finished is damaged; it is done again\n" in capfd.readouterr().err


def test_what_a_killed_process_was_writing_goes(tmp_path: Path, fuse: Fuse) -> None:
    what, keeper = task(tmp_path), Keeper(tmp_path / "kept", 0.0)
    folder = kept_after(4, what, "finetune", keeper, fuse)
    (folder / ".000005.half").mkdir()
    (folder / ".000005.half" / "tensors.safetensors").write_bytes(b"half")
    train(what, "finetune", keeper)
    assert [path.name for path in folder.iterdir()] == ["finished"]


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
    what = task(tmp_path)
    kept_after(4, what, "finetune", Keeper(tmp_path / "kept", 0.0), fuse)
    if "labels" in other:
        what = dataclasses.replace(what, labels=np.roll(what.labels, 1))
    keeper = Keeper(tmp_path / "kept", 0.0, str(other.get("identity", "")))
    settings = other.get("settings", RICH)
    assert isinstance(settings, Train)
    train(what, str(other.get("name", "finetune")), keeper, settings)
    assert "going on" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "other",
    [{"checkpoint_seconds": 99.0}, {"control": False}, {"label_counts": (2,)}],
)
def test_what_decides_nothing_lets_it_go_on(
    other: dict[str, object], tmp_path: Path, fuse: Fuse, capfd: pytest.CaptureFixture[str]
) -> None:
    what, keeper = task(tmp_path), Keeper(tmp_path / "kept", 0.0)
    kept_after(4, what, "finetune", keeper, fuse)
    train(what, "finetune", keeper, dataclasses.replace(RICH, **other))  # type: ignore[arg-type]
    assert "going on from the checkpoint" in capfd.readouterr().err


def test_what_was_unfrozen_is_unfrozen_again(tmp_path: Path, fuse: Fuse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault of others: a resumed run that freezes the backbone again, or wakes batch statistics."""
    what, keeper = task(tmp_path), Keeper(tmp_path / "kept", 0.0)
    seen: list[tuple[object, ...]] = []
    real = finetuning._Run._snapshot

    def spy(self: object, run: Underway, *rest: object) -> object:
        learning = [name for name, value in run.network.named_parameters() if value.requires_grad]
        training = [name for name, module in run.network.named_modules() if module.training]
        groups = [(len(g["params"]), g["lr"], g["weight_decay"], g["initial_lr"]) for g in run.optimizer.param_groups]
        seen.append((learning, training, groups, run.epoch, run.step, torch.get_rng_state().tolist()))
        return real(self, run, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(finetuning._Run, "_snapshot", spy)
    train(what, "finetune", keeper)
    whole, seen[:] = list(seen), []
    keeper.clear()
    kept_after(len(whole) - 2, what, "finetune", keeper, fuse)
    train(what, "finetune", keeper)
    assert seen == whole


def test_snapshots_are_written_at_the_pace_that_is_set(tmp_path: Path, fuse: Fuse) -> None:
    keeper = Keeper(tmp_path / "kept", 3600.0)
    fuse.at = 4
    with pytest.raises(KilledError):
        train(task(tmp_path), "finetune", keeper)
    assert not keeper.folder.exists(), "an hour has not passed"


def test_a_checkpoint_holds_no_pickle(tmp_path: Path, fuse: Fuse) -> None:
    folder = kept_after(4, task(tmp_path), "finetune", Keeper(tmp_path / "kept", 0.0), fuse)
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    assert files == {"tensors.safetensors", "facts.json"}
    snapshot = Checkpoints(folder, 0.0).latest()
    assert snapshot is not None
    kinds = {name.split(".")[0] for name in snapshot.tensors}
    assert kinds == {"network", "optimizer", "average", "random"}
    assert {"epoch", "step", "losses", "schedule", "groups", "requires_grad", "training"} <= set(snapshot.facts)
