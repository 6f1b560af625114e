"""The process that does what is due: ``python -m flows.worker`` (``make worker``).

It begins with the runs that died and the schedules that were missed.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from flows.startup import WORKER, start

start()

from flows.crashes import bury_dead_runs  # noqa: E402
from flows.deployments import POOL, make_pool, need_server  # noqa: E402
from flows.missed import drop_missed  # noqa: E402
from graft.errors import exit_code  # noqa: E402
from graft.workspace import Workspace  # noqa: E402

# Seconds between a flow's signs of life; flows.deployments says how many may be missed.
HEARTBEAT = "60"


def _begin() -> None:
    need_server()
    make_pool()
    drop_missed(POOL)
    bury_dead_runs(Workspace(Path().resolve()), resume=True)
    # Prefect turns SIGTERM into SIGINT; what a shell started in the background ignores that, and would never end.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ[WORKER] = str(os.getpid())
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", HEARTBEAT)
    prefect = str(Path(sys.executable).with_name("prefect"))
    os.execv(prefect, [prefect, "worker", "start", "--pool", POOL, "--type", "process"])


def main() -> int:
    """Become Prefect's worker; returns an exit code only where that is refused."""
    return exit_code(_begin)


if __name__ == "__main__":
    sys.exit(main())
