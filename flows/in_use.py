"""What the flows that change the model in use have in common: one message, and the history as a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.startup import start

start()

from prefect import State, get_run_logger  # noqa: E402
from prefect.artifacts import create_markdown_artifact  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from flows.project import project_id  # noqa: E402
from graft.core.errors import GraftError  # noqa: E402
from graft.core.workspace import Workspace  # noqa: E402
from graft.registry.history import Promotion, history  # noqa: E402
from graft.registry.promote import Change  # noqa: E402

# A run that left the model in use as it was.
KEPT = "Kept"


def change(root: str, work: Callable[[Workspace], Change]) -> State[Any]:
    """Do ``work`` in the project in ``root``, publish the history as an artifact, and end in one message."""
    workspace = Workspace(Path(root).resolve())
    try:
        done = work(workspace)
    except GraftError as error:
        return Failed(message=error.message())
    create_markdown_artifact(
        page(done, history(workspace)), key=f"{project_id(workspace)}-model-in-use", description=done.sentence
    )
    log = get_run_logger()
    for line in (done.sentence, *done.notes):
        log.info(line)
    return Completed(name=None if done.promotion else KEPT, message="\n".join((done.sentence, *done.notes)))


def page(done: Change, past: tuple[Promotion, ...]) -> str:
    """What was done, and every model that was promoted, newest first, as Markdown."""
    lines = [f"{done.sentence}.", "", *(f"- {note}" for note in done.notes), ""]
    if past:
        lines += ["| | model | accuracy | since | tag |", "|---|---|---|---|---|"]
    for item in reversed(past):
        mark = "in use" if item is past[-1] else ""
        lines.append(f"| {mark} | {item.title} | {_accuracy(item)} | {item.when} | {item.tag or ''} |")
    return "\n".join([*lines, ""])


def _accuracy(item: Promotion) -> str:
    value, bounds = item.figures.get("accuracy"), item.figures.get("accuracy_ci95")
    if value is None:
        return "not known"
    return f"{value:.3f}" + (f" (95%: {bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else "")
