"""No tool that graft uses may report to its maker: the switches of all of them, set in one place and early."""

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
    """Set every switch that the user has not set; call it before a tool is imported, for most read it only then."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
