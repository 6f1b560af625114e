"""Confidence against accuracy by bands, as the model answers and as it would without its temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graft.evaluate.metrics import Bin, bins
from graft.trust.temperature import uncalibrated

if TYPE_CHECKING:
    from graft.evaluate.judgement import Judgement


@dataclass(frozen=True)
class Bands:
    """The reliability diagram's bands: ``after`` the temperature, and ``before`` it; equal where it is 1."""

    after: Sequence[Bin]
    before: Sequence[Bin]


def bands_of(found: Judgement) -> Bands:
    """The bands of confidence of the test images."""
    labels, after, temperature = found.held_out.labels, found.probabilities, found.trusted.trust.temperature.value
    return Bands(bins(labels, after), bins(labels, uncalibrated(after, temperature)))
