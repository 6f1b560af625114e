"""Memory that ran out is told as that, in a message that a user can do something about."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import numpy as np
import pytest
import torch

from graft.core.memory import shortage


def raised(work: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:
        work()
    return caught.value


def test_what_is_really_raised_is_known() -> None:
    assert shortage(raised(lambda: torch.empty(10**15))) == "out of memory, it asked for 4e+06 GB more"
    assert shortage(raised(lambda: np.empty(10**17))) == "out of memory, it asked for 711 PiB more"
    assert shortage(MemoryError()) == "out of memory"
    assert shortage(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))) == "out of memory"
    gpu = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 8 GiB"
    assert shortage(RuntimeError(gpu)) == "out of memory, it asked for 2.50 GiB more"


def test_other_failures_are_not_taken_for_it() -> None:
    assert [shortage(error) for error in (RuntimeError("boom"), OSError(28, "disk full"), ValueError())] == [None] * 3
