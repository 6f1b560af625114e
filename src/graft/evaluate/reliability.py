"""Calibration on the test images before and after the temperature, and what is answered at each confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graft.evaluate.metrics import Bin, bins, expected_calibration_error
from graft.trust.card import Temperature
from graft.trust.temperature import uncalibrated

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Calibration:
    """How sure the model is against how right it is.

    Attributes:
        temperature: what the card says.
        raw: bands of confidence without the temperature.
        used: bands with it, as the model answers.
        before: expected calibration error without it, in [0, 1].
        after: the same with it.
    """

    temperature: Temperature
    raw: Sequence[Bin]
    used: Sequence[Bin]
    before: float
    after: float


def calibration(labels: NDArray[np.intp], probabilities: NDArray[np.float64], temperature: Temperature) -> Calibration:
    """Hold the confidence of the answers against the labels, with and without the temperature.

    Args:
        labels: (n,), at least one.
        probabilities: calibrated, (n, k).
        temperature: what they were calibrated with.
    """
    raw = uncalibrated(probabilities, temperature.value) if temperature.value != 1 else probabilities
    return Calibration(
        temperature,
        raw=bins(labels, raw),
        used=bins(labels, probabilities),
        before=expected_calibration_error(labels, raw),
        after=expected_calibration_error(labels, probabilities),
    )


def reliability_table(found: Calibration) -> pd.DataFrame:
    """A row per band of confidence: calibrated (after or before), low, high, count, confidence, accuracy."""
    import pandas as pd

    columns = ["calibration", "low", "high", "count", "confidence", "accuracy"]
    rows = [
        (name, band.low, band.high, band.count, band.confidence, band.accuracy)
        for name, bands in (("after", found.used), ("before", found.raw))
        for band in bands
    ]
    return pd.DataFrame(rows, columns=columns)
