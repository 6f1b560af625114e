"""The learning rate from step to step: warm-up of at most a quarter of the steps, then a cosine to its end."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graft.training.inputs import CachedActivations
from graft.training.schedule import MOST_WARM_UP, rate_at, warm_up_steps
from graft.training.strategies import Stage
from graft.training.trainer import StageData
from tests.training.small import LABELS, SETTINGS, fit_stage, task, tiny

EPOCHS, STEPS = st.integers(1, 60), st.integers(1, 400)


@pytest.mark.parametrize(
    ("epoch", "epochs", "wanted"),
    [(10, 20, 10), (10, 4, 10), (10, 3, 7), (10, 1, 2), (8, 1, 2), (3, 1, 0), (1, 1, 0), (1, 4, 1)],
)
def test_warm_up_is_one_epoch_or_a_quarter_of_the_steps(epoch: int, epochs: int, wanted: int) -> None:
    assert warm_up_steps(epoch, epochs * epoch) == wanted


@given(epoch=STEPS, epochs=EPOCHS)
def test_warm_up_never_takes_more_than_its_share_nor_more_than_an_epoch(epoch: int, epochs: int) -> None:
    total = epoch * epochs
    steps = warm_up_steps(epoch, total)
    assert 0 <= steps <= epoch and steps <= MOST_WARM_UP * total
    assert steps == epoch or steps + 1 > MOST_WARM_UP * total, "as long as it may be"


@given(epoch=STEPS, epochs=EPOCHS)
def test_the_rate_rises_to_its_peak_and_falls_to_its_end(epoch: int, epochs: int) -> None:
    total = epoch * epochs
    warm_up = warm_up_steps(epoch, total)
    rates = [rate_at(step, warm_up, total) for step in range(total + 1)]
    assert all(0 < rate <= 1 for rate in rates[:-1])
    assert rates[: warm_up + 1] == sorted(rates[: warm_up + 1])
    assert rates[warm_up] == 1.0, "the rate that was set is reached, whatever the number of epochs"
    assert rates[warm_up:] == sorted(rates[warm_up:], reverse=True)
    assert rates[total] == pytest.approx(0.0, abs=1e-12)


def test_the_rates_of_one_epoch_of_eight_steps() -> None:
    """Worked out by hand: thirds, then cosines of sixths of a half turn."""
    rates = [rate_at(step, warm_up_steps(8, 8), 8) for step in range(8)]
    falling = [(1 + cosine) / 2 for cosine in (1, math.sqrt(3) / 2, 0.5, 0, -0.5, -math.sqrt(3) / 2)]
    assert rates == pytest.approx([1 / 3, 2 / 3, *falling])


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_a_stage_trains_at_these_rates(epochs: int, tmp_path: Path) -> None:
    """Head and blocks alike, each from its own peak; after the last step the rate has come to its end."""
    network, what = tiny(), task(tmp_path)
    settings = dataclasses.replace(SETTINGS, batch_size=3)
    stage = Stage("some", 2, epochs, 0.02, 0.004, False)
    inputs = CachedActivations(what.extractor.activations(network, 2, what.rows))
    seen: list[list[float]] = []

    def note(run: Any) -> None:
        seen.append([group["lr"] for group in run.optimizer.param_groups])

    fit_stage(network, stage, StageData(inputs, torch.from_numpy(LABELS)), settings, note)
    total = 8 * epochs
    shares = [rate_at(step, min(8, total // 4), total) for step in range(1, total + 1)]
    peaks = (0.02, 0.02, 0.004, 0.004)  # weights and biases of the head, then of the blocks
    for rates, share in zip(seen, shares, strict=True):
        assert rates == pytest.approx([peak * share for peak in peaks])
    assert max(rates[0] for rates in seen) == pytest.approx(0.02) and seen[-1][0] == pytest.approx(0.0, abs=1e-12)
