"""The process that does what is due: ``python -m flows.worker`` (``make worker``).

It begins with the runs that died and the schedules that were missed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from flows.startup import WORKER, start

start()

from flows.crashes import bury_dead_runs  # noqa: E402
from flows.deployments import make_pool, need_server, pool_of  # noqa: E402
from flows.missed import drop_missed  # noqa: E402
from graft.core.errors import exit_code  # noqa: E402
from graft.core.workspace import Workspace  # noqa: E402

# Seconds between a flow's signs of life; flows.deployments says how many may be missed.
HEARTBEAT = "60"


def _begin(named: str | None) -> None:
    need_server()
    pool = named or pool_of(Path().resolve())
    make_pool(pool)
    drop_missed(pool)
    bury_dead_runs(Workspace(Path().resolve()), resume=True)
    # Prefect turns SIGTERM into SIGINT; what a shell started in the background ignores that, and would never end.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ[WORKER] = str(os.getpid())
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", HEARTBEAT)
    prefect = str(Path(sys.executable).with_name("prefect"))
    os.execv(prefect, [prefect, "worker", "start", "--pool", pool, "--type", "process"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Become Prefect's worker; returns an exit code only where that is refused."""
    parser = argparse.ArgumentParser(prog="python -m flows.worker", description="Do what is due, until it is stopped.")
    parser.add_argument("--pool", help="the work pool to take from (default: the one that prefect.yaml names)")
    chosen = parser.parse_args(arguments)
    return exit_code(lambda: _begin(chosen.pool))


if __name__ == "__main__":
    sys.exit(main())
