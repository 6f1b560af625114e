"""Kill -9, for real and again and again: the final weights have the same sha256 as if nothing had happened."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.training.killed import Case, Moment, run

pytestmark = pytest.mark.slow

# With dropout, average, draws with replacement, mixing, and views that are kept.
CHAINS = [
    ("finetune", "squeezenet1_1", "light", {"epochs": 8, "batch_size": 24, "dropout": 0.2, "ema_decay": 0.5}),
    ("finetune", "squeezenet1_1", "mixup", {"epochs": 4, "imbalance": "sampling", "unfreeze": 1.0}),
    ("scratch", "shufflenet_v2_x0_5", "light", {"epochs": 4, "grad_clip_norm": 1.0}),
]
# A process makes a step or an epoch of its own and is killed before the next one, or while an epoch is written down.
MOMENTS = (Moment("step", 1), Moment("half written", 0), Moment("step", 4), Moment("half written", 1))
MOST = 40


@pytest.mark.parametrize(("strategy", "arch", "policy", "changes"), CHAINS)
def test_the_weights_are_the_same_after_a_kill_in_every_epoch(
    strategy: str, arch: str, policy: str, changes: dict[str, object], tmp_path: Path
) -> None:
    """At least 5 kills each."""
    whole = Case(tmp_path / "whole", arch, strategy, policy, changes)
    assert run(whole) == 0
    assert whole.epochs > 0
    killed = Case(tmp_path / "killed", arch, strategy, policy, changes)
    ends: list[int] = []
    while 0 not in ends and len(ends) < MOST:
        ends.append(run(killed, MOMENTS[len(ends) % len(MOMENTS)]))
    assert set(ends) == {0, -signal.SIGKILL} and len(ends) > 5
    assert killed.weights == whole.weights


@pytest.mark.parametrize(
    ("strategy", "moments"), [("extract", ["head"]), ("finetune", ["head", "step", "half written"])]
)
def test_killed_while_the_head_is_fitted_and_while_an_epoch_is_written(
    strategy: str, moments: list[str], tmp_path: Path
) -> None:
    whole = Case(tmp_path / "whole", "squeezenet1_1", strategy, "none", {}, solve=True)
    killed = Case(tmp_path / "killed", "squeezenet1_1", strategy, "none", {}, solve=True)
    assert run(whole) == 0
    assert [run(killed, Moment(kind, 0)) for kind in moments] == [-signal.SIGKILL] * len(moments)
    assert run(killed) == 0
    assert killed.weights == whole.weights
