"""Limits how long idle OpenMP threads spin, so that training stays fast on a machine that is shared.

GNU OpenMP, which torch and scikit-learn compute with, lets a thread that has nothing to do spin 300,000 times before it
sleeps. While the thread it waits for has no core, because another program has it, that only takes cores away. Measured
on 2 cores, a training step of ResNet-18 at 32 px and 32 images: alone 90 ms with either count; beside five busy
processes 4 to 7 s with the default and 0.6 to 0.8 s with this one; never spinning at all costs 40% when alone.
"""

from __future__ import annotations

import os

SPIN_COUNT = "5000"


def wait_briefly() -> None:
    """Set the spin count unless the user has set a wait policy. Call it before torch is imported."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def variables_for(threads: int) -> dict[str, str]:
    """Environment variables that limit the threads of OpenMP, OpenBLAS and MKL, which read them when loaded.

    Results can differ in the last bits with that count, so it is set where ``compute.threads`` is.
    """
    return {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def compute_alone() -> None:
    """Run NumPy's matrix products on one thread. Call it before NumPy is imported.

    In a service each request has a thread of its own already, and a product that is spread over all cores waits for the
    others' requests.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
