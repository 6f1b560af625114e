"""``python -m flows.rollback``: the model that was in use before is in use again; what graft.registry says, shown."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.startup import start

start()

from prefect import State, flow  # noqa: E402

from flows.in_use import change  # noqa: E402
from flows.notify import tell_of_end  # noqa: E402
from flows.typed import as_command, run  # noqa: E402
from graft.registry import rollback as room  # noqa: E402


@flow(
    name="graft-rollback",
    flow_run_name="rollback",
    on_failure=[tell_of_end],
    on_crashed=[tell_of_end],
    on_completion=[tell_of_end],
)
def rollback(root: str = ".", to: int | None = None) -> State[Any]:
    """Bring an earlier model back, byte for byte, without training.

    Args:
        root: the folder that holds dvc.yaml.
        to: its number in `graft history`; None: the one that was in use before.
    """
    return change(root, lambda workspace: room.rollback(workspace, to))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.rollback", description="Bring an earlier model back.")
    parser.add_argument("--to", type=int, metavar="NUMBER", help="its number in `graft history`")
    parser.add_argument("--root", type=Path, default=Path(), help="the folder that holds dvc.yaml (default: this one)")
    chosen = parser.parse_args(arguments)
    return as_command(lambda: run(lambda: rollback(str(chosen.root), chosen.to, return_state=True)))


if __name__ == "__main__":
    sys.exit(main())
