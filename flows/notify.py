"""Tell people through Prefect's own notification blocks: Slack, Teams, mail, PagerDuty, a webhook, ...

``GRAFT_NOTIFY`` names saved blocks by type and name, such as ``custom-webhook/team, slack-webhook/alerts``.
"""

from __future__ import annotations

import os
from typing import Any

from flows.startup import start

start()

from prefect import Flow, State  # noqa: E402
from prefect.blocks.abstract import NotificationBlock  # noqa: E402
from prefect.blocks.core import Block  # noqa: E402
from prefect.client.schemas.objects import FlowRun  # noqa: E402

from flows.terminal import say  # noqa: E402
from graft.errors import GraftError  # noqa: E402

VARIABLE = "GRAFT_NOTIFY"


def blocks_named() -> tuple[str, ...]:
    """The blocks that the environment names."""
    return tuple(name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip())


def tell(subject: str, body: str) -> None:
    """Send a message through every block that is named; one that cannot be reached is said so and keeps nobody."""
    for name in blocks_named():
        try:
            _block(name).notify(body, subject)
        except Exception as error:  # whatever a sender raises, a run is not to fail on its messenger
            what = error.what if isinstance(error, GraftError) else f"{type(error).__name__}: {error}"
            say(f"nobody was told through '{name}': {what}")


def _block(name: str) -> Any:  # a block's `notify` returns nothing here, but is typed as a coroutine
    try:
        block: Any = Block.load(name)
    except ValueError as error:
        raise GraftError(f"there is no such block: {error}", where=VARIABLE) from None
    if not isinstance(block, NotificationBlock):
        raise GraftError("this block sends no notifications", where=VARIABLE)
    return block


def tell_of_end(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A hook for a flow's ``on_failure`` and ``on_crashed``."""
    tell(f"{flow.name}: '{flow_run.name}' ended as {state.name}", state.message or "it gave no reason")
