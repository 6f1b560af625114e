"""No tool reports anything, unless its user has said otherwise."""

from __future__ import annotations

import os

import pytest

from graft.core.telemetry import SWITCHES, switch_off


def test_every_switch_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SWITCHES:
        monkeypatch.setenv(name, "to be put back after the test")
        monkeypatch.delenv(name)
    switch_off()
    assert {name: os.environ[name] for name in SWITCHES} == {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "BENTOML_DO_NOT_TRACK": "True",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def test_what_the_user_has_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_NO_ANALYTICS", "0")
    switch_off()
    assert os.environ["DVC_NO_ANALYTICS"] == "0"
