"""Which DVC remote is meant: the configured one, one that is named, or a folder of the user's that graft sets up."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.errors import VersionError
from graft.versions.checkout import Checkout
from graft.workspace import Workspace

if TYPE_CHECKING:
    from graft.versions.store import Store

VARIABLE = "GRAFT_REMOTE"
NAME = "graft"


@dataclass(frozen=True)
class Chosen:
    """A remote.

    Attributes:
        name: as DVC's configuration has it; None for an address that it does not have.
        address: a folder or URL.
        becomes: the name under which the address is to be the default, once it has shown that it can be used; None
            where it is used this once.
    """

    name: str | None
    address: str
    becomes: str | None = None


def choose(workspace: Workspace, store: Store, to: str | None) -> Chosen:
    """The remote to publish to.

    Args:
        workspace: the project.
        store: its DVC side.
        to: a configured remote's name, or an address; None: the default remote, and where none is configured the
            address that ``GRAFT_REMOTE`` names, else a folder in the user's data folder. Where DVC has no default
            remote yet, an address is to become it (:func:`keep`), so that `dvc pull` finds it in other clones.

    Raises:
        VersionError: the address is a folder inside the project, lies in a folder that is not there, or is of no kind
            that DVC knows.
    """
    known, default = dict(store.remotes), store.default_remote
    if to in known or (to is None and default is not None):
        name = str(to or default)
        _check_there(known[name])
        return Chosen(name, known[name])
    address = to or os.environ.get(VARIABLE) or str(own_folder(workspace))
    if "://" not in address:
        folder = Path(address).expanduser().resolve()
        if folder.is_relative_to(workspace.root.resolve()):
            raise VersionError(
                "a remote inside the project would be lost with it", where=folder, remedy="name a folder elsewhere"
            )
        if to is None and VARIABLE not in os.environ:
            folder.parent.mkdir(parents=True, exist_ok=True)
        _check_there(str(folder))
        address = str(folder)
    store.check_address(address)
    same = [name for name, url in known.items() if url == address]
    if same:
        return Chosen(same[0], address)
    if default is not None:
        return Chosen(None, address)
    return Chosen(None, address, NAME if NAME not in known else f"{NAME}-{len(known) + 1}")


def own_folder(workspace: Workspace) -> Path:
    """A folder of the user's, outside the project, that belongs to this project alone."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    root = workspace.root.resolve()
    mark = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    # DVC cannot write other letters into its configuration.
    name = re.sub(r"[^ -~]", "_", root.name)
    return Path(home) / "graft" / "remotes" / f"{name}-{mark}"


def keep(workspace: Workspace, store: Store, chosen: Chosen) -> tuple[str, ...]:
    """Make the remote the default where it is to become that; returns what the user is to be told.

    It is written into .dvc/config, and that file committed where git has it and nobody is changing it. To be called
    when an object has arrived there: an address that was mistyped would stay the one that everybody pulls from.
    """
    if chosen.becomes is None:
        return ()
    address = chosen.address
    config = workspace.root / ".dvc" / "config"
    checkout = Checkout.of(workspace.root)
    alone = checkout is not None and not checkout.changed(config)
    store.add_remote(chosen.becomes, address)
    notes = [f"{address} is the default DVC remote now ({config.relative_to(workspace.root)})"]
    if checkout is None:
        return tuple(notes)
    if alone:
        checkout.check_ready()
        checkout.commit([config], f"Keep data and models at {address}")
        notes.append("committed: `git push` tells other clones where to pull from")
    else:
        notes.append("commit .dvc/config, so that other clones know where to pull from")
    return tuple(notes)


def _check_there(address: str) -> None:
    """Refuse a folder whose parent is not there: a disk or share that is not mounted must not be written beside."""
    folder = Path(address)
    if "://" not in address and folder.is_absolute() and not folder.parent.is_dir():
        raise VersionError(
            "the remote cannot be reached: its folder's parent is not there",
            where=folder,
            remedy="mount or make it, or name another with `graft publish --to ADDRESS`",
        )
