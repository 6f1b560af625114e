"""Did the data change? ``python -m flows.watch`` looks, says what changed, and tells the server, which then trains.

It asks DVC, which compares places, sizes and times and so reads no image that is as it was.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import typed
from flows.startup import start

start()

from prefect import State, flow  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402
from prefect.variables import Variable  # noqa: E402

from flows.events import DATA_CHANGED, emit  # noqa: E402
from flows.graph import changed_inputs  # noqa: E402
from flows.notify import tell_of_end  # noqa: E402
from flows.pipeline import run_flow  # noqa: E402
from flows.project import project_id  # noqa: E402
from flows.turn import SKIPPED, BusyError, leave_if_busy  # noqa: E402
from graft.core.config import load_params  # noqa: E402
from graft.core.errors import GraftError  # noqa: E402
from graft.core.workspace import Workspace  # noqa: E402
from graft.data.changes import compare_with_ingested  # noqa: E402
from graft.pipeline.locate import refuse_missing  # noqa: E402

# What reads the user's data; their other inputs are graft's own code.
READERS = ("locate", "ingest", "gather")
CODE = "src/"


@dataclass(frozen=True)
class Found:
    """Data that is not as the last run took it in.

    Attributes:
        words: which inputs changed, and what that means in images.
        cause: the same in a few words, for the name of the run that takes them in.
        content: what tells it from any other change.
    """

    words: str
    cause: str
    content: str


@flow(
    name="graft-watch",
    flow_run_name="watch",
    on_failure=[tell_of_end],
    on_crashed=[tell_of_end],
    on_completion=[tell_of_end],
)
def watch(root: str = ".") -> State[Any]:
    """Emit ``graft.data.changed`` where the data is not what the last run took in; once for each change.

    A change that no run takes in, because it is refused, is not trained on again and again: the nightly run tries.

    Args:
        root: the project's folder.
    """
    workspace = Workspace(Path(root).resolve())
    try:
        leave_if_busy(workspace)
        found = what_changed(workspace)
        leave_if_busy(workspace)  # a run that has begun meanwhile may have been seen half done
    except BusyError as error:  # what it does not take in, the next look finds
        return Completed(name=SKIPPED, message=error.message())
    except GraftError as error:
        return Failed(message=error.message())
    if found is None:
        Variable.unset(_variable(workspace))
        return Completed(name="Unchanged", message="the data is what the last run took in")
    if Variable.get(_variable(workspace), "") != found.content:
        emit(DATA_CHANGED, workspace, what=found.words, cause=found.cause)
        Variable.set(_variable(workspace), found.content, overwrite=True)
    return Completed(name="Changed", message=found.words)


def _variable(workspace: Workspace) -> str:
    """What the server keeps the last change under for which a training was asked."""
    return f"{project_id(workspace)}-data"


def what_changed(workspace: Workspace) -> Found | None:
    """What is not as the last run took it in; None where all is.

    Raises:
        BusyError: a run is taking the data in.
        GraftError: there is no project here, or its data cannot be listed.
    """
    if workspace.params.exists():
        refuse_missing(load_params(workspace.params), workspace.root)
    inputs = changed_inputs(workspace.root, READERS)
    data = {path: change for path, change in sorted(inputs.items()) if not path.startswith(CODE)}
    if not data:
        return None
    words = ", ".join(f"{path} ({change.how})" for path, change in data.items())
    content = hashlib.sha256(repr(data).encode()).hexdigest()
    if not workspace.params.exists():
        return Found(words, words, content)
    changes = compare_with_ingested(load_params(workspace.params), workspace)
    return Found(f"{words}: {changes.describe()}", changes.brief(), content)


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
