"""`publish`: `dvc push` of the project and of every model in its history."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.errors import VersionError
from graft.core.workspace import Workspace
from graft.registry.dvc_repo import open_repo, versions_file
from graft.registry.history import history

if TYPE_CHECKING:
    from dvc.repo import Repo

NAME = "graft"  # of a remote that is set up here


@dataclass(frozen=True)
class PublishResult:
    """The outcome.

    Attributes:
        address: the remote.
        sent: objects that were not there before (files, and lists of a folder's files).
        notes: what else the user should know.
    """

    address: str
    sent: int
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For a terminal."""
        return [f"{self.address}: {self.sent:,} objects sent", *(f"  {note}" for note in self.notes)]


def publish(workspace: Workspace, to: str | None = None) -> PublishResult:
    """Push what the remote lacks of all that dvc.lock, models/promoted.dvc and the history name.

    Args:
        workspace: the project.
        to: name of a configured remote, or an address; None: DVC's default remote. Where DVC has none yet, the address
            becomes it when the push has succeeded.

    Raises:
        VersionError: there is no remote, or it cannot be used.
    """
    with open_repo(workspace) as repo:
        remotes, default = dict(repo.config["remote"]), repo.config["core"].get("remote")
    name = to if to in remotes else default if to is None else NAME
    if name is None:
        raise VersionError(
            "no remote is configured",
            where=workspace.root / ".dvc" / "config",
            remedy="`graft publish --to ADDRESS` (a folder, s3://bucket/path, ...), or `dvc remote add -d NAME URL`",
        )
    address = remotes[name]["url"] if to is None or to in remotes else _address(workspace, to)
    past = {item.version: item.md5 for item in history(workspace)}
    with (
        versions_file(workspace, past) as versions,
        open_repo(workspace, {"remote": {name: {"url": address}}}) as repo,
    ):
        sent = repo.push(remote=name) + repo.push([str(versions)], remote=name)
        notes = () if default else _make_default(repo, name, address)
    return PublishResult(address, sent, notes)


def _address(workspace: Workspace, to: str) -> str:
    """An address as DVC's configuration has it. Raises VersionError for a folder that cannot be a remote."""
    if "://" in to:
        return to
    folder = Path(to).expanduser().resolve()
    if folder.is_relative_to(workspace.root.resolve()):
        raise VersionError(
            "a remote inside the project would be lost with it", where=folder, remedy="name a folder elsewhere"
        )
    if not folder.parent.is_dir():
        raise VersionError(
            "the remote cannot be reached: its folder's parent is not there",
            where=folder,
            remedy="mount or make it, or name another with `graft publish --to ADDRESS`",
        )
    return str(folder)


def _make_default(repo: Repo, name: str, address: str) -> tuple[str, ...]:
    with repo.config.edit("repo") as config:
        config["remote"][name] = {"url": address}
        config["core"]["remote"] = name
    return (f"{address} is DVC's default remote now: commit .dvc/config, so that other clones know it",)
