"""What Prefect may say where graft speaks."""

from __future__ import annotations

import logging

import pytest
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from flows.terminal import keep_prefect_quiet


@pytest.mark.parametrize("service", [EventsWorker, APILogWorker])
def test_what_ends_with_the_process_ends_without_a_warning(service: type) -> None:
    """Prefect gives such a service a logger of the class's name, outside of its own."""
    names = ["prefect", "prefect.flow_runs", "prefect.task_runs", service.__name__]
    before = {name: (logging.getLogger(name).level, logging.getLogger(name).propagate) for name in names}
    logging.getLogger(service.__name__).setLevel(logging.NOTSET)
    try:
        keep_prefect_quiet()
        assert not logging.getLogger(service.__name__).isEnabledFor(logging.WARNING)
        assert logging.getLogger(service.__name__).isEnabledFor(logging.ERROR)
    finally:
        for name, (level, propagate) in before.items():
            logging.getLogger(name).setLevel(level)
            logging.getLogger(name).propagate = propagate
