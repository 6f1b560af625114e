"""The history of the production model: GTO's registry in git, or models/promotions.json where there is no git.

A registered version is the tag ``graft@v3.0.0``, and each change of the stage ``production`` a tag
``graft#production#4`` with the record of that promotion as JSON in its message. Records that a project has in
models/promotions.json, from before it used GTO or git, come first.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from graft.core.errors import VersionError
from graft.core.files import write_json
from graft.core.workspace import Workspace
from graft.registry.git import Checkout

Action = Literal["promote", "rollback"]
STAGE = "production"


@dataclass(frozen=True)
class Promotion:
    """One change of the production model.

    Attributes:
        number: its place in the history, from 1; a rollback has a number of its own.
        action: ``promote``, or ``rollback`` where an earlier model was brought back.
        when: UTC, such as ``2026-11-21T12:00:00+00:00``.
        name: the model's name, from ``package.name``.
        version: the model's version (:func:`graft.inference.package.version_of`).
        md5: DVC's hash of models/promoted.
        replaced: version of the production model before; None at first.
        difference: difference of its accuracy to that of the model before on the same test images: ``value``,
            ``ci95`` and ``p_value``; None where they were not compared.
        figures: headline metrics of the evaluation.
        data: hash of the images and their split; see :mod:`graft.registry.provenance`.
        params: hash of all settings.
        commit: git commit that it was trained at, with ``-dirty`` where files had changed; None without git.
        tag: the git tag that registers the model, such as ``graft@v3.0.0``; None without git.
    """

    number: int
    action: Action
    when: str
    name: str
    version: str
    md5: str
    replaced: str | None = None
    difference: Mapping[str, Any] | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    params: str | None = None
    commit: str | None = None
    tag: str | None = None

    @property
    def title(self) -> str:
        """For people: ``graft:0123456789ab (number 3)``."""
        return f"{self.name}:{self.version} (number {self.number})"

    @property
    def accuracy(self) -> str:
        """For people: ``91.2% (95%: 89.0% to 93.0%) on 1,717 test images``; empty where it is not known."""
        from graft.metrics.formatting import percent

        value, bounds, tested = (self.figures.get(key) for key in ("accuracy", "accuracy_ci95", "n_test"))
        spread = f" (95%: {percent(bounds[0])} to {percent(bounds[1])})" if bounds else ""
        on = f" on {tested:,} test images" if tested else ""
        return "" if value is None else percent(value) + spread + on


def history(workspace: Workspace) -> tuple[Promotion, ...]:
    """Every change of the production model, oldest first; the last one is in production.

    Raises:
        VersionError: models/promotions.json or a tag is damaged.
    """
    rows = [*_rows_of_file(workspace.promotions), *_rows_of_gto(workspace)]
    try:
        return tuple(Promotion(**{**row, "number": number}) for number, row in enumerate(rows, 1))
    except TypeError as error:
        raise _damaged(error, workspace.promotions) from None


def record(workspace: Workspace, checkout: Checkout | None, promotion: Promotion) -> Promotion:
    """Add the promotion of models/promoted to the history; returns it with its tag. Run again, it goes on.

    In git it is committed, registered as a version (or found: a model is registered once) and assigned to the stage.

    Raises:
        VersionError: git or GTO refuses.
    """
    if checkout is None:
        rows = [*_rows_of_file(workspace.promotions), _row(promotion)]
        write_json(workspace.promotions, rows)
        return promotion
    import gto.api
    from gto.exceptions import GTOException

    pointer = workspace.promoted_pointer
    checkout.commit(
        (pointer, workspace.root / "dvc.lock", workspace.params), f"{promotion.action.capitalize()} {promotion.title}"
    )
    repo, artifact = str(workspace.root.resolve()), _artifact(checkout, promotion.name)
    try:
        tag = _registered(workspace, promotion) or _register(repo, artifact, checkout.last_commit(pointer), promotion)
        promotion = dataclasses.replace(promotion, tag=tag)
        gto.api.assign(
            repo,
            artifact,
            STAGE,
            version=gto.api.parse_tag(tag)["version"],
            message=f"{promotion.action} {promotion.title}\n\n{json.dumps(_row(promotion))}",
            force=True,
        )
    except GTOException as error:
        raise VersionError(
            f"GTO cannot tag the promotion: {error}", where=workspace.root, remedy="git fetch --tags, then run again"
        ) from error
    return promotion


def rolled_back(past: Sequence[Promotion]) -> dict[str, Promotion]:
    """Models that were rolled back from and not promoted since: by version, the rollback."""
    found: dict[str, Promotion] = {}
    for item in past:
        if item.action == "rollback" and item.replaced not in {None, item.version}:
            found[str(item.replaced)] = item
        found.pop(item.version, None)
    return found


def rollback_target(past: Sequence[Promotion], to: int | None, where: Path) -> Promotion:
    """The promotion to roll back to: number ``to``, else the newest of another model that was not rolled back from.

    Raises:
        VersionError: there is none, or its model is in production already.
    """
    if not past:
        raise VersionError("no model was ever promoted", where=where, remedy="promote one first: `graft promote`")
    current, refused = past[-1], rolled_back(past)
    if to is None:
        earlier = [item for item in past if item.version != current.version and item.version not in refused]
        if not earlier:
            raise VersionError(
                "there is no earlier model to go back to", where=where, remedy="`graft history` lists what there is"
            )
        return earlier[-1]
    if not 1 <= to <= len(past):
        raise VersionError(
            f"there is no promoted model number {to}", where=where, remedy="`graft history` lists their numbers"
        )
    if past[to - 1].version == current.version:
        raise VersionError(f"number {to} is the production model already", where=where)
    return past[to - 1]


def _rows_of_file(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [dict(row) for row in rows]
    except FileNotFoundError:
        return []
    except (TypeError, ValueError) as error:
        raise _damaged(error, path) from None


def _damaged(error: Exception, path: Path) -> VersionError:
    return VersionError(
        f"the history of promoted models is damaged: {error}",
        where=path,
        remedy=f"bring back the last good one: git checkout -- {path.name} in {path.parent}",
    )


def _rows_of_gto(workspace: Workspace) -> Iterator[dict[str, Any]]:
    """The records in the messages of the stage's tags. One that was assigned by hand has none, and moves nothing."""
    checkout = Checkout.of(workspace.root)
    if checkout is None:
        return
    import gto.api

    events = [
        (event["timestamp"], gto.api.parse_tag(event["ref"])["counter"], event["message"])
        for event in gto.api.history(str(workspace.root.resolve()), ascending=True)
        if event["event"] == "assignment"
        and event["stage"] == STAGE
        and event["artifact"].rpartition(":")[0] == checkout.inside
    ]
    for _, _, message in sorted(events):  # tags of the same second are in the order of their counters
        with suppress(ValueError):
            yield dict(json.loads(message.partition("\n\n")[2]))


def _row(promotion: Promotion) -> dict[str, Any]:
    return dataclasses.asdict(promotion)


def _artifact(checkout: Checkout, name: str) -> str:
    """GTO's name of the artifact: ``folder:graft`` in a subfolder of a checkout."""
    return f"{checkout.inside}:{name}" if checkout.inside else name


def _registered(workspace: Workspace, promotion: Promotion) -> str | None:
    """The tag under which this model was registered before."""
    tags = (item.tag for item in history(workspace) if item.tag and item.version == promotion.version)
    return next(tags, None)


def _register(repo: str, artifact: str, commit: str, promotion: Promotion) -> str:
    import gto.api

    events = [event for event in gto.api.history(repo, artifact) if event["event"] == "registration"]
    for event in events:
        if event["commit"] == commit:  # a promotion that was broken off after this step
            return str(event["ref"])
    done = gto.api.register(
        repo,
        artifact,
        commit,
        version=None if events else "v1.0.0",
        bump_major=bool(events),
        message=f"{promotion.name}:{promotion.version}",
    )
    return str(done.tag)
