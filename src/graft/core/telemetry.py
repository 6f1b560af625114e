"""Switches the telemetry of every tool off, in one place."""

from __future__ import annotations

import os

# BentoML reads `True` only: `1` or `yes` leave its reporting on.
SWITCHES = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "BENTOML_DO_NOT_TRACK": "True",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def switch_off() -> None:
    """Set every switch that the user has not set. Call it before a tool is imported: most read it then."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
