"""Figures and findings in words: every number of the report gets its unit and its interval here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from graft.stats.bootstrap import Interval


def percent(share: float | None) -> str:
    """A share in [0, 1] -> ``93.4%``; an en dash where there is none. Only exactly 0 and 1 lose their decimal."""
    if share is None:
        return "–"
    if share in (0, 1):
        return f"{share:.0%}"
    # 0.9996 must not read 100.0%: that would claim what was not seen.
    return f"{min(max(100 * share, 0.1), 99.9):.1f}%"


def area(value: float | None) -> str:
    """An area under a curve -> ``0.953``; an en dash where there is none. Only exactly 1 reads 1.000."""
    if value is None:
        return "–"
    return f"{value if value in (0, 1) else min(max(value, 0.001), 0.999):.3f}"


def interval(found: Interval | None) -> str:
    """``92.1% to 94.5%``."""
    return "–" if found is None else f"{percent(found.low)} to {percent(found.high)}"


def points(difference: float) -> str:
    """A difference of two shares -> signed percentage points, ``+3.1``."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def point_interval(found: Interval) -> str:
    """``+1.2 to +4.9``."""
    return f"{points(found.low)} to {points(found.high)}"


def number(value: float) -> str:
    """At most four significant digits, thousands separated."""
    if not math.isfinite(value):
        return "unbounded"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def metric_name(key: str) -> str:
    """``macro_f1`` -> ``macro F1``: a key of metrics.json for people."""
    names = {"_": " ", "f1": "F1", "roc auc": "ROC AUC", "brier": "Brier", "matthews": "Matthews"}
    for plain, proper in names.items():
        key = key.replace(plain, proper)
    return key


def cell(value: Any) -> str:
    """Any value of a foreign table, for people."""
    if value is None or (isinstance(value, (float, np.floating)) and math.isnan(value)):
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    return number(float(value)) if isinstance(value, (int, float, np.number)) else str(value)


def millions(count: int) -> str:
    """``11.2 million``, or the count itself where it is below one million."""
    return f"{count / 1e6:.1f} million" if count >= 1_000_000 else f"{count:,}"


def milliseconds(value: float) -> str:
    """``3.2 ms``."""
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def megabytes(value: float) -> str:
    """``44.8 MB``."""
    return f"{value:.1f} MB" if value >= 1 else f"{value:.2f} MB"


def counted(count: int, one: str, many: str) -> str:
    """``1 image``, ``1,234 images``."""
    return f"{count:,} {one if count == 1 else many}"
