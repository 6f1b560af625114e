"""`registry verify`: reads every object in DVC's cache and at the remote, and compares its MD5 with its name.

DVC takes an object that is there by its name for whole. A bad disk or a broken upload can make it wrong.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from graft.core.errors import VersionError
from graft.core.progress import track
from graft.core.workspace import Workspace
from graft.registry.dvc_repo import open_repo, versions_file
from graft.registry.history import history

if TYPE_CHECKING:
    from dvc.repo import Repo

_SHOWN = 10
_MEND_CACHE = "delete the damaged files; `dvc fetch` takes them from the remote, `dvc commit --force` from the project"
# DVC takes all files of a folder for sent whose list is at the remote.
_MEND_REMOTE = (
    "delete the damaged objects there (files/md5/<two digits>/<the others>) and those that end in .dir; "
    "`graft publish` sends them again"
)


@dataclass(frozen=True)
class StoredObject:
    """An object in DVC's cache or at its remote.

    Attributes:
        path: the file that it holds, or where it lies.
        md5: what it must hash to.
        open: opens it.
    """

    path: str
    md5: str
    open: Callable[[], IO[bytes]]

    def problem(self) -> str | None:
        """Read it: ``missing`` or ``damaged``; None where it is whole."""
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with self.open() as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
        except FileNotFoundError:
            return "missing"
        return None if digest.hexdigest() == self.md5 else "damaged"


def verify(workspace: Workspace) -> list[str]:
    """Read everything back; returns a line for the cache, and one for the default remote if there is one.

    At the remote that is what dvc.lock and the .dvc files name now, and every model in the history.

    Raises:
        VersionError: an object is damaged or missing; the message names it.
    """
    with open_repo(workspace) as repo:
        remote = repo.config["core"].get("remote")
        lines = [_check(_cached_objects(Path(repo.cache.local_cache_dir)), "DVC's cache", _MEND_CACHE)]
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


def tracked_files(repo: Repo, folder: str = "") -> Iterator[StoredObject]:
    """The files that the project's DVC files name below ``folder``, read from the cache or else from the remote.

    Raises:
        FileNotFoundError: the list of a folder's files is in neither.
    """
    from dvc_data.index import DataIndexDirError

    files = repo.datafs
    try:
        for path in files.find(folder):
            md5 = files.info(path).get("md5")
            if md5 is not None:  # an output of a stage that never ran has none
                yield StoredObject(path.lstrip("/"), md5, partial(files.open, path, "rb"))
    except DataIndexDirError as error:
        raise FileNotFoundError(str(error)) from error


def _cached_objects(cache: Path) -> Iterator[StoredObject]:
    """All objects of a cache. Two digits of the MD5 are a folder; the list of a folder's files ends in ``.dir``."""
    for path in sorted((cache / "files" / "md5").glob("??/*")):
        md5 = f"{path.parent.name}{path.name}".removesuffix(".dir")
        yield StoredObject(str(path), md5, partial(_open, path))


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


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
        raise VersionError(f"{'; '.join(bad[:_SHOWN])}{more}", where=where, remedy=remedy)
    return f"{where}: {len(checked):,} files read, every hash is right"
