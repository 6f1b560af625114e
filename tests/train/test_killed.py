"""Kill -9, for real and again and again: the final weights have the same sha256 as if nothing had happened."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.train.killed import Case, Moment, run

pytestmark = pytest.mark.slow

# Every strategy with epochs, and with them dropout, average, draws with replacement, mixing and several stages.
CHAINS = [
    ("staged", "squeezenet1_1", "light", {"finetune_epochs": 1, "full_epochs": 1, "dropout": 0.2}),
    ("gradual", "squeezenet1_1", "light", {"gradual_epochs": 1, "ema_decay": 0.5, "clip_norm": 1.0}),
    ("full", "squeezenet1_1", "mixup", {"imbalance": "sampling", "block_decay": 0.7}),
    ("scratch", "shufflenet_v2_x0_5", "light", {}),
]
# A process makes one step, writes its checkpoint, and is killed before the next step or while that is written down.
MOMENTS = (Moment("batch", 1), Moment("half written", 1))
MOST = 40


@pytest.mark.parametrize(("strategy", "arch", "policy", "changes"), CHAINS)
def test_the_weights_are_the_same_after_a_kill_at_every_step(
    strategy: str, arch: str, policy: str, changes: dict[str, object], tmp_path: Path
) -> None:
    """At least 5 kills each, in all stages of both passes: 20 and more in all."""
    whole = Case(tmp_path / "whole", arch, strategy, policy, changes)
    assert run(whole) == 0
    assert min(whole.epochs.values()) > 0, "the second pass trains in every stage, too"
    killed = Case(tmp_path / "killed", arch, strategy, policy, changes)
    ends: list[int] = []
    while 0 not in ends and len(ends) < MOST:
        ends.append(run(killed, MOMENTS[len(ends) % len(MOMENTS)]))
    assert set(ends) == {0, -signal.SIGKILL} and len(ends) > 5
    assert killed.weights == whole.weights


@pytest.mark.parametrize(("strategy", "kills"), [("extract", 3), ("staged", 7)])
def test_killed_while_the_head_is_solved_and_in_the_steps_after_it(strategy: str, kills: int, tmp_path: Path) -> None:
    """On kept features: in the heads of both passes, and in every step from kept activations after the first one."""
    whole = Case(tmp_path / "whole", "squeezenet1_1", strategy, "none", {}, solve=True)
    killed = Case(tmp_path / "killed", "squeezenet1_1", strategy, "none", {}, solve=True)
    assert run(whole) == 0
    if strategy == "extract":
        ends = [run(killed, moment) for moment in (Moment("head", 0), Moment("head", 1), Moment("end", 0))]
    else:
        steps = [Moment("kept batch", 1)] * 5
        ends = [run(killed, moment) for moment in (Moment("head", 0), *steps, Moment("head", 0))]
    assert ends == [-signal.SIGKILL] * kills
    assert run(killed) == 0
    assert killed.weights == whole.weights


def test_killed_while_the_end_is_written_and_while_the_hold_out_is_looked_at(tmp_path: Path) -> None:
    strategy, arch, policy, changes = CHAINS[2]
    whole = Case(tmp_path / "whole", arch, strategy, policy, changes)  # type: ignore[arg-type]
    killed = Case(tmp_path / "killed", arch, strategy, policy, changes)  # type: ignore[arg-type]
    assert run(whole) == 0
    moments = (Moment("hold-out", 0), Moment("hold-out", 1), Moment("end", 0))
    assert [run(killed, moment) for moment in moments] == [-signal.SIGKILL] * 3
    assert run(killed) == 0
    assert killed.weights == whole.weights
