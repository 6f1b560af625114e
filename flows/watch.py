"""Did the data change? ``python -m flows.watch`` looks, says what changed, and tells the server, which then trains.

It asks DVC, which compares places, sizes and times and so reads no image that is as it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows import typed
from flows.startup import start

start()

from prefect import State, flow  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from flows.events import DATA_CHANGED, emit  # noqa: E402
from flows.graph import changed_inputs  # noqa: E402
from flows.notify import tell_of_end  # noqa: E402
from flows.pipeline import SKIPPED, run_flow  # noqa: E402
from flows.turn import BusyError  # noqa: E402
from graft.config import load_params  # noqa: E402
from graft.errors import GraftError  # noqa: E402
from graft.images.changes import compare  # noqa: E402
from graft.stages.locate import refuse_missing  # noqa: E402
from graft.workspace import Workspace  # noqa: E402

# What reads the user's data; their other inputs are graft's own code.
READERS = ("locate", "ingest", "gather")
CODE = "src/"


@flow(name="graft-watch", on_failure=[tell_of_end], on_crashed=[tell_of_end])
def watch(root: str = ".") -> State[Any]:
    """Emit ``graft.data.changed`` where the data is not what the last run took in.

    Args:
        root: the project's folder.
    """
    workspace = Workspace(Path(root).resolve())
    try:
        found = what_changed(workspace)
    except BusyError as error:  # what it does not take in, the next look finds
        return Completed(name=SKIPPED, message=error.message())
    except GraftError as error:
        return Failed(message=error.message())
    if found is None:
        return Completed(name="Unchanged", message="the data is what the last run took in")
    emit(DATA_CHANGED, workspace, what=found)
    return Completed(name="Changed", message=found)


def what_changed(workspace: Workspace) -> str | None:
    """What is not as the last run took it in, for people; None where all is.

    Raises:
        BusyError: a run is taking the data in.
        GraftError: there is no project here, or its data cannot be listed.
    """
    if workspace.params.exists():
        refuse_missing(load_params(workspace.params), workspace.root)
    inputs = changed_inputs(workspace.root, READERS)
    data = {path: how for path, how in inputs.items() if not path.startswith(CODE)}
    if not data:
        return None
    words = ", ".join(f"{path} ({how})" for path, how in sorted(data.items()))
    if not workspace.params.exists():
        return words
    return f"{words}: {compare(load_params(workspace.params), workspace).describe()}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.watch", description="Look whether the data changed.")
    parser.add_argument("--run", action="store_true", help="run the pipeline here and now if it did")
    parser.add_argument("--root", type=Path, default=Path(), help="the folder that holds dvc.yaml (default: this one)")
    chosen = parser.parse_args(arguments)
    return typed.as_command(lambda: _look(chosen.root, chosen.run))


def _look(root: Path, run: bool) -> None:
    state = typed.run(lambda: watch(str(root), return_state=True))
    if run and state.name == "Changed":
        run_flow(root)


if __name__ == "__main__":
    sys.exit(main())
