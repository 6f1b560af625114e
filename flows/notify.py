"""Tell people through Prefect's own notification blocks: Slack, Teams, mail, PagerDuty, a webhook, ...

``GRAFT_NOTIFY`` names saved blocks by type and name, such as ``custom-webhook/team, slack-webhook/alerts``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.startup import start

start()

import httpx  # noqa: E402
from prefect import Flow, State  # noqa: E402
from prefect.blocks.abstract import NotificationBlock  # noqa: E402
from prefect.blocks.core import Block  # noqa: E402
from prefect.client.schemas.objects import FlowRun  # noqa: E402
from prefect.variables import Variable  # noqa: E402

from flows.project import project_id  # noqa: E402
from flows.terminal import say  # noqa: E402
from flows.turn import SKIPPED  # noqa: E402
from graft.core.errors import GraftError  # noqa: E402
from graft.core.workspace import Workspace  # noqa: E402

VARIABLE = "GRAFT_NOTIFY"


def blocks_named() -> tuple[str, ...]:
    """The blocks that the environment names."""
    return tuple(name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip())


def tell(subject: str, body: str) -> bool:
    """Send a message through every block that is named; one that cannot be reached is said so and keeps nobody.

    Returns:
        Whether somebody was reached, or nobody is to be.
    """
    reached = not blocks_named()
    for name in blocks_named():
        try:
            _block(name).notify(body, subject)
            reached = True
        except Exception as error:  # whatever a sender raises, a run is not to fail on its messenger
            what = error.what if isinstance(error, GraftError) else f"{type(error).__name__}: {error}"
            say(f"nobody was told through '{name}': {what}")
    return reached


def tell_changes(workspace: Workspace, about: str, subject: str, causes: Mapping[str, str]) -> dict[str, str]:
    """Tell of each cause once, and once when it is over; a Prefect variable remembers those that are not.

    A message that reached nobody is sent again the next time.

    Args:
        workspace: the project.
        about: what has these causes, such as ``graft-monitor``.
        subject: of the messages.
        causes: all that is wrong now -> what is said of it.

    Returns:
        The causes that were not there before.
    """
    variable, where = f"{project_id(workspace)}-{about}", f"\n  project: {workspace.root.resolve()}"
    try:
        before: Any = Variable.get(variable, [])
        new = {cause: words for cause, words in causes.items() if cause not in before}
        told = [cause for cause in before if cause in causes or not tell(subject, f"this is over: {cause}{where}")]
        told += [cause for cause, words in new.items() if tell(subject, words + where)]
        if told != before:
            Variable.set(variable, told, overwrite=True)
    except httpx.HTTPError as error:
        say(f"the Prefect server does not know what was told before: {error}")
        return dict(causes)
    return new


def _block(name: str) -> Any:  # a block's `notify` returns nothing here, but is typed as a coroutine
    try:
        block: Any = Block.load(name)
    except ValueError as error:
        raise GraftError(f"there is no such block: {error}", where=VARIABLE) from None
    if not isinstance(block, NotificationBlock):
        raise GraftError("this block sends no notifications", where=VARIABLE)
    return block


def tell_of_end(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A hook for a flow's ``on_failure``, ``on_crashed`` and ``on_completion``: tell of a failure, and of its end."""
    if state.name == SKIPPED:
        return
    message = state.message or "it gave no reason"
    subject = f"{flow.name}: '{flow_run.name}' ended as {state.name}"
    causes = {} if state.is_completed() else {message.partition("\n")[0]: message}
    tell_changes(Workspace(Path(flow_run.parameters.get("root", "."))), flow.name, subject, causes)
