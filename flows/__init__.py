"""Prefect flows: when, where and how often the pipeline of dvc.yaml runs, and what is shown of it."""

from graft.core.telemetry import switch_off

# Every module of this package is imported after this one, and so is Prefect, which reads these switches at import.
switch_off()
