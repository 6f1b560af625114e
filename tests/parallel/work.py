"""What the tests give to workers: functions of a module, so that other processes find them."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from graft.core.errors import DataError
from tests.waiting import until


def square(number: int) -> int:
    return number * number


def slow_square(number: int) -> int:
    """The first items take longest, so that they do not end in the order they were begun."""
    time.sleep(0.3 / (1 + number))
    return number * number


def refuse_odd(number: int) -> int:
    if number % 2:
        raise DataError(f"{number} is odd", where="here", remedy="take another")
    return number


class PrivateError(Exception):
    """One that cannot be made from its text alone, as pickling would."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raise_private(number: int) -> int:
    raise PrivateError(number, number)


def kill_own_process(number: int) -> int:
    """Number 1 dies each time."""
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def kill_own_process_once(item: tuple[int, str]) -> int:
    """Dies the first time only; the second time the file is there."""
    number, file = item
    if number == 1 and not Path(file).exists():
        Path(file).write_text("died")
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def run_out_of_memory(number: int) -> int:
    """Number 1 asks for more address space than it may have, and gets no MemoryError from anybody but the system."""
    import resource

    if number == 1:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000, before[1]))
        try:
            return len(bytearray(1_000_000_000))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
    return number


def meet(folder: str) -> int:
    """Says who works here, and goes on when a second process has said it as well."""
    Path(folder, str(os.getpid())).touch()
    until(lambda: len(list(Path(folder).iterdir())) == 2, 240)
    return os.getpid()


def context(number: int) -> dict[str, Any]:
    import torch
    from threadpoolctl import threadpool_info

    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GRAFT_OFFLINE")
    return {
        "folder": str(Path.cwd()),
        "torch": torch.get_num_threads(),
        "libraries": {item["num_threads"] for item in threadpool_info()},
        **{name: os.environ.get(name) for name in names},
    }


def cannot_be_sent(number: int) -> Any:
    return threading.Lock()


def sleep_long(file: str) -> None:
    """Says that it works, and then nothing for longer than a test may take."""
    Path(file).write_text(str(os.getpid()))
    time.sleep(900)


def sleep_long_if_told(file: str | None) -> None:
    if file is not None:
        sleep_long(file)
