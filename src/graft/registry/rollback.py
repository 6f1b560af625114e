"""`rollback`: puts a model that was promoted before back into production, byte for byte, without training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.errors import VersionError
from graft.core.workspace import Workspace
from graft.registry.dvc_repo import open_repo, path_of, versions_file
from graft.registry.history import Promotion, history, record, rollback_target
from graft.registry.promote import PromotionResult, notes_of, now, promotion_lock, replace_promoted
from graft.registry.verify import tracked_files

if TYPE_CHECKING:
    from dvc.repo import Repo


def rollback(workspace: Workspace, to: int | None = None) -> PromotionResult:
    """Put the model before the production model back, or that with number ``to``; a running service reloads it.

    Its files come from DVC's cache or else the remote, and are hashed. The history gets a new entry, and automatic
    promotion is held.

    Raises:
        VersionError: there is no such model, or its files are nowhere or damaged, or models/promoted holds files of
            the user's.
    """
    with promotion_lock(workspace) as checkout:
        past = history(workspace)
        target = rollback_target(past, to, workspace.promotions)
        known = {item.version for item in past}
        with versions_file(workspace, {target.version: target.md5}), open_repo(workspace) as repo:
            replace_promoted(workspace, repo, target.version, known, lambda folder: _fetch(repo, target, folder))
        entry = dataclasses.replace(
            target, number=len(past) + 1, action="rollback", when=now(), replaced=past[-1].version, difference=None
        )
        entry = record(workspace, checkout, entry)
    return PromotionResult(entry, f"{entry.title} is in use again, as it was from {target.when} on", notes_of(entry))


def _fetch(repo: Repo, target: Promotion, folder: Path) -> None:
    """Write the model's files into a folder.

    Raises:
        VersionError: one of them is neither in the cache nor at the remote, or is damaged.
    """
    top = path_of(target.version)
    try:
        found = [(Path(item.path).name, item.problem()) for item in tracked_files(repo, top)]
    except FileNotFoundError:
        found = [("the list of files", "missing")]
    bad = [f"{name} is {problem}" for name, problem in found if problem]
    if bad:
        raise VersionError(
            f"the files of {target.title} cannot be brought back from DVC's cache or the remote: {', '.join(bad)}",
            where=f"DVC's hash {target.md5}",
            remedy="`graft registry verify` says where they are damaged: delete them there; publish from a clone that "
            "has them (`graft publish` there), or go back to another model: `graft history`",
        )
    repo.datafs.get(top, str(folder), recursive=True)
