"""`graft promote`, `rollback`, `history`, `publish` and `registry verify`."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from graft.core.workspace import Workspace

if TYPE_CHECKING:
    from graft.registry.history import Promotion
    from graft.registry.promote import PromotionResult

_SHORT = 12


def promote_model(anyway: bool) -> None:
    """Promote the packaged model if it is better than the production model, and say so."""
    from graft.registry.promote import promote

    _say(promote(Workspace.find().require(), anyway=anyway))


def rollback_model(to: int | None) -> None:
    """Bring an earlier model back, and say so."""
    from graft.registry.rollback import rollback

    _say(rollback(Workspace.find().require(), to))


def publish_versions(to: str | None) -> None:
    """Push data and models to the remote, and say how many objects were sent."""
    from graft.registry.publish import publish

    for line in publish(Workspace.find().require(), to).lines():
        print(line)


def verify_versions() -> None:
    """Read everything back from DVC's cache and remote, and say how much was read."""
    from graft.registry.verify import verify

    for line in verify(Workspace.find().require()):
        print(line)


def show_history(as_json: bool) -> None:
    """List the promoted models, newest first."""
    from graft.registry.history import history

    past = history(Workspace.find().require())
    if as_json:
        rows = [{**dataclasses.asdict(item), "production": item is past[-1]} for item in past]
        print(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False))
        return
    if not past:
        print("no model was promoted yet: `graft promote` promotes the packaged one")
        return
    for item in reversed(past):
        _say_promotion(item, item is past[-1])


def _say(change: PromotionResult) -> None:
    print(change.sentence)
    for note in change.notes:
        print(f"  {note}")


def _say_promotion(item: Promotion, production: bool) -> None:
    done = "promoted" if item.action == "promote" else "brought back"
    print(f"{item.number:>3}  {item.name}:{item.version}  {done} {item.when}{'  <- production' if production else ''}")
    for name, value in (("accuracy", item.accuracy), ("against", _against(item)), ("from", _from(item))):
        if value:
            print(f"     {name:9} {value}")


def _against(item: Promotion) -> str:
    if item.replaced is None or item.action == "rollback":
        return ""
    if item.difference is None:
        return f"{item.replaced}, which was in use before: not compared"
    from graft.registry.rule import format_difference

    told = format_difference(item.difference["value"], item.difference.get("ci95"))
    return f"{item.replaced}, which was in use before: accuracy {told}"


def _from(item: Promotion) -> str:
    parts = [f"{name} {value[:_SHORT]}" for name in ("data", "params", "commit") if (value := getattr(item, name))]
    return ", ".join([*parts, *([f"tag {item.tag}"] if item.tag else [])])
