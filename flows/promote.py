"""The flows that change the production model, promotion and rollback: what graft.registry does, shown in Prefect."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import State, flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from flows.project import project_id
from graft.core.errors import GraftError
from graft.core.workspace import Workspace
from graft.registry import promote as promotion
from graft.registry import rollback as return_to
from graft.registry.history import Promotion, history
from graft.registry.publish import publish
from graft.registry.rule import hold_reason

# Before another try to reach the remote, in seconds.
RETRY_DELAYS = [10.0, 60.0, 300.0]


@flow(name="graft-promote", flow_run_name="promote: {cause}")
def promote(
    root: str = ".", anyway: bool = False, send: bool = False, automatic: bool = False, cause: str = "by hand"
) -> State[Any]:
    """Put the packaged model into production if it is better than the one that is.

    Args:
        root: the folder that holds dvc.yaml.
        anyway: whether it is better or not.
        send: publish data and models to the DVC remote afterwards.
        automatic: not asked for by a person; nothing is done where one has to decide (graft.registry.rule.hold_reason).
        cause: why it runs, for its name.
    """

    def work(workspace: Workspace) -> promotion.PromotionResult:
        if automatic and (why := hold_reason(workspace)):
            return promotion.PromotionResult(None, why)
        done = promotion.promote(workspace, anyway=anyway)
        return dataclasses.replace(done, notes=(*done.notes, *sent(workspace))) if send else done

    return _change(root, work)


@flow(name="graft-rollback", flow_run_name="rollback")
def rollback(root: str = ".", to: int | None = None) -> State[Any]:
    """Bring an earlier model back, byte for byte, without training.

    Args:
        root: the folder that holds dvc.yaml.
        to: its number in `graft history`; None: the one that was in production before.
    """
    return _change(root, lambda workspace: return_to.rollback(workspace, to))


@task(name="publish", cache_policy=NO_CACHE, retries=len(RETRY_DELAYS), retry_delay_seconds=RETRY_DELAYS)
def sent(workspace: Workspace) -> list[str]:
    """Publish, tried again where the remote is away for a while; returns what came of it, in lines."""
    return publish(workspace).lines()


def _change(root: str, work: Callable[[Workspace], promotion.PromotionResult]) -> State[Any]:
    """Do ``work`` in the project in ``root``, and publish the history as an artifact."""
    workspace = Workspace(Path(root).resolve())
    try:
        done = work(workspace)
    except GraftError as error:
        return Failed(message=error.message())
    key = f"{project_id(workspace)}-production-model"
    create_markdown_artifact(history_page(done, history(workspace)), key=key, description=done.sentence)
    lines = (done.sentence, *done.notes)
    for line in lines:
        get_run_logger().info(line)
    return Completed(name=None if done.promotion else "Kept", message="\n".join(lines))


def history_page(done: promotion.PromotionResult, past: tuple[Promotion, ...]) -> str:
    """What was done, and every model that was promoted, newest first, as Markdown."""
    lines = [f"{done.sentence}.", "", *(f"- {note}" for note in done.notes), ""]
    if past:
        lines += ["| | model | accuracy | since | tag |", "|---|---|---|---|---|"]
    for item in reversed(past):
        mark = "production" if item is past[-1] else ""
        lines.append(f"| {mark} | {item.title} | {item.accuracy or 'not known'} | {item.when} | {item.tag or ''} |")
    return "\n".join([*lines, ""])
