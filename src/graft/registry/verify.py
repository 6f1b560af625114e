"""`registry verify`: reads every object in DVC's cache and at the remote, and compares its MD5 with its name.

DVC takes an object that is there by its name for whole. A bad disk or a broken upload can make it wrong.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from graft.core.errors import VersionError
from graft.core.progress import track
from graft.core.workspace import Workspace
from graft.registry.dvc_repo import open_repo, versions_file
from graft.registry.history import history
from graft.registry.objects import StoredObject, cached_objects, tracked_files

_SHOWN = 10
_MEND_CACHE = "delete the damaged files; `dvc fetch` takes them from the remote, `dvc commit --force` from the project"
# DVC takes all files of a folder for sent whose list is at the remote.
_MEND_REMOTE = (
    "delete the damaged objects there (files/md5/<two digits>/<the others>) and those that end in .dir; "
    "`graft publish` sends them again"
)


def verify(workspace: Workspace) -> list[str]:
    """Read everything back, and return a line for the cache and one for the remote, if one is configured.

    At the remote that is what dvc.lock and the .dvc files name now, and every model in the history.

    Raises:
        VersionError: an object is damaged or missing; the message names it.
    """
    with open_repo(workspace) as repo:
        remote = repo.config["core"].get("remote")
        lines = [_check(cached_objects(Path(repo.cache.local_cache_dir)), "DVC's cache", _MEND_CACHE)]
    if remote:
        past = {item.version: item.md5 for item in history(workspace)}
        # With an empty cache, DVC reads everything from the remote.
        with (
            tempfile.TemporaryDirectory() as empty,
            versions_file(workspace, past),
            open_repo(workspace, {"cache": {"dir": empty}}) as repo,
        ):
            lines.append(_check(tracked_files(repo), f"the remote {remote}", _MEND_REMOTE))
    return lines


def _check(objects: Iterable[StoredObject], where: str, remedy: str) -> str:
    checked: dict[str, str | None] = {}
    bad = []
    try:
        for item in track(objects, f"reading {where}", total=0, unit="files"):
            if item.md5 not in checked:
                checked[item.md5] = item.problem()
            if (problem := checked[item.md5]) is not None:
                bad.append(f"{item.path} (md5 {item.md5}) is {problem}")
    except FileNotFoundError as error:
        bad.append(f"the list of a folder's files is missing ({error})")
    if bad:
        more = f" and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
        raise VersionError(
            f"{'; '.join(bad[:_SHOWN])}{more}",
            where=where,
            remedy=remedy,
        )
    return f"{where}: {len(checked):,} files read, every hash is right"
