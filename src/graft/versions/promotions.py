"""models/promotions.json: which models were promoted or brought back, when, and by what figures. Small text, in git."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from graft.errors import VersionError
from graft.files import write_json
from graft.workspace import Workspace

Action = Literal["promote", "rollback"]


@dataclass(frozen=True)
class Promotion:
    """One change of the model in use.

    Attributes:
        number: 1 for the first, and so on; a rollback has a number of its own.
        action: ``promote``, or ``rollback`` where an earlier model was brought back.
        when: UTC, such as ``2026-11-21T12:00:00+00:00``.
        name: the model's name, from ``package.name``.
        version: the model's version (:func:`graft.packaged.version_of`).
        md5: DVC's hash of models/promoted; its bytes are in the cache and the remote under it.
        replaced: version of the model that was in use before; None at first.
        difference: by how much its accuracy differs from that of the model before on the same test images: ``value``
            with ``ci95`` and ``p_value``; None where they were not compared.
        figures: the evaluation's headline figures.
        data: hash of the images and their division; see :mod:`graft.versions.origin`.
        params: hash of all settings.
        commit: git's commit that it was made at, with ``-dirty`` where files had changed since; None without git.
        tag: the git tag that marks this change; None without git.
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
        """How people are told of it: ``graft:0123456789ab (number 3)``."""
        return f"{self.name}:{self.version} (number {self.number})"


def history(workspace: Workspace) -> tuple[Promotion, ...]:
    """Every change of the model in use, oldest first; the last one is in use.

    Raises:
        VersionError: the file is damaged.
    """
    path = workspace.promotions
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = tuple(Promotion(**row) for row in rows)
    except FileNotFoundError:
        return ()
    except (TypeError, ValueError) as error:
        raise VersionError(
            f"the history of promoted models is damaged: {error}",
            where=path,
            remedy=f"bring back the last good one: git checkout -- {path.name} in {path.parent}",
        ) from None
    if [item.number for item in found] != list(range(1, len(found) + 1)):
        raise VersionError(
            "the history of promoted models is not numbered 1, 2, 3, ...: two histories were merged",
            where=path,
            remedy="keep one of the two and promote the other's model again",
        )
    return found


def record(workspace: Workspace, promotion: Promotion) -> None:
    """Append to the history; the file is replaced whole."""
    rows = [dataclasses.asdict(item) for item in (*history(workspace), promotion)]
    write_json(workspace.promotions, rows)


def taken_back(past: Sequence[Promotion]) -> dict[str, Promotion]:
    """Models that somebody rolled back from and nobody has promoted since: by version, the rollback."""
    found: dict[str, Promotion] = {}
    for item in past:
        if item.action == "rollback" and item.replaced not in {None, item.version}:
            found[str(item.replaced)] = item
        found.pop(item.version, None)
    return found


def before(past: Sequence[Promotion], to: int | None, where: Path) -> Promotion:
    """The entry to go back to: number ``to``, else the newest whose model is not the one in use and was not taken back.

    Raises:
        VersionError: there is no such entry, or its model is in use already.
    """
    if not past:
        raise VersionError("no model was ever promoted", where=where, remedy="promote one first: `graft promote`")
    current, refused = past[-1], taken_back(past)
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
        raise VersionError(f"number {to} is the model in use already", where=where)
    return past[to - 1]
