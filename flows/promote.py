"""``python -m flows.promote``: the packaged model comes into use if it is better; what graft.registry says, shown."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.startup import start

start()

from prefect import State, flow, task  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402

from flows.in_use import change  # noqa: E402
from flows.notify import tell_of_end  # noqa: E402
from flows.typed import as_command, run  # noqa: E402
from graft.core.workspace import Workspace  # noqa: E402
from graft.registry import promote as room  # noqa: E402
from graft.registry.publish import publish  # noqa: E402
from graft.registry.rule import held  # noqa: E402

# Before another try to reach the remote, in seconds.
RETRY_DELAYS = [10.0, 60.0, 300.0]


@flow(
    name="graft-promote",
    flow_run_name="promote: {cause}",
    on_failure=[tell_of_end],
    on_crashed=[tell_of_end],
    on_completion=[tell_of_end],
)
def promote(
    root: str = ".", anyway: bool = False, send: bool = False, automatic: bool = False, cause: str = "by hand"
) -> State[Any]:
    """Put the packaged model into use if it is better than the one that is.

    Args:
        root: the folder that holds dvc.yaml.
        anyway: whether it is better or not.
        send: send data and models to the DVC remote afterwards, and verify them there.
        automatic: nobody asked for it: nothing is done where a person has to decide (see graft.registry.rule.held).
        cause: why it runs, for its name.
    """

    def work(workspace: Workspace) -> room.Change:
        if automatic and (why := held(workspace)):
            return room.Change(None, why)
        done = room.promote(workspace, anyway=anyway)
        if not send:
            return done
        return dataclasses.replace(done, notes=(*done.notes, *sent(workspace)))

    return change(root, work)


@task(name="publish", cache_policy=NO_CACHE, retries=len(RETRY_DELAYS), retry_delay_seconds=RETRY_DELAYS)
def sent(workspace: Workspace) -> list[str]:
    """Publish, tried again where the remote is away for a while; what came of it, in lines."""
    return publish(workspace).lines()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.promote", description="Promote the packaged model.")
    parser.add_argument("--anyway", action="store_true", help="whether it is better than the model in use or not")
    parser.add_argument("--send", action="store_true", help="publish it to the DVC remote afterwards")
    parser.add_argument("--root", type=Path, default=Path(), help="the folder that holds dvc.yaml (default: this one)")
    chosen = parser.parse_args(arguments)
    return as_command(lambda: run(lambda: promote(str(chosen.root), chosen.anyway, chosen.send, return_state=True)))


if __name__ == "__main__":
    sys.exit(main())
