"""Rates: measured once and kept, by everything that they depend on; a damaged file is measured anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from graft.core.settings import Candidate, Train
from graft.planning.rates import Rates, rates_of

SMALL = Candidate("shufflenet_v2_x0_5", "none")


def test_rates_are_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rates_of(SMALL, 32, Train(), tmp_path, measure=True)
    assert first is not None and all(value > 0 for value in vars(first).values())
    assert first.frozen < first.forward and first.finetune < first.scratch
    assert len(list((tmp_path / "rates").iterdir())) == 1
    monkeypatch.setattr("graft.planning.rates._measured", None)  # calling it would fail
    assert rates_of(SMALL, 32, Train(), tmp_path, measure=True) == first
    assert rates_of(SMALL, 32, Train(epochs=3), tmp_path, measure=False) == first, "epochs change no rate"
    for other in (
        rates_of(SMALL, 64, Train(), tmp_path, measure=False),
        rates_of(SMALL, 32, Train(unfreeze=1.0), tmp_path, measure=False),
        rates_of(Candidate("resnet18", "none"), 32, Train(), tmp_path, measure=False),
    ):
        assert other is None


def test_a_damaged_file_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Rates(1.0, 0.5, 2.0, 3.0, 0.1)
    monkeypatch.setattr("graft.planning.rates._measured", lambda *given: known)
    assert rates_of(SMALL, 32, Train(), tmp_path, measure=True) == known
    (kept,) = (tmp_path / "rates").iterdir()
    kept.write_text('{"forward": 1.0')
    assert rates_of(SMALL, 32, Train(), tmp_path, measure=False) is None
    assert rates_of(SMALL, 32, Train(), tmp_path, measure=True) == known
