"""`publish`: all that the project and its history of promoted models need is at the remote, read back and hashed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graft.errors import VersionError
from graft.versions.objects import DIRECTORY, Objects, State, Wanted
from graft.versions.promotions import history
from graft.versions.remotes import choose, keep
from graft.workspace import Workspace

if TYPE_CHECKING:
    from graft.versions.store import Store

_NAMED = 5


@dataclass(frozen=True)
class Published:
    """What came of it, in counts of objects (files, and lists of a folder's files).

    Attributes:
        address: the remote.
        verified: read back from there, and found whole.
        sent: those that were not there before.
        mended: those that were damaged there, and are sent again.
        restored: those that were damaged in the cache, and are taken from the remote.
        notes: what else is to be told.
    """

    address: str
    verified: int
    sent: int
    mended: int
    restored: int
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For a terminal."""
        lines = [f"{self.address}: {self.verified:,} objects read back, every hash is right; {self.sent:,} were new"]
        if self.mended:
            lines.append(f"  warning: {self.mended:,} were damaged there and are sent again: look after that storage")
        if self.restored:
            lines.append(f"  warning: {self.restored:,} were damaged in DVC's cache here and are taken from the remote")
        return lines + [f"  {note}" for note in self.notes]


def publish(workspace: Workspace, to: str | None = None) -> Published:
    """Send what the remote lacks, then read every object back there and compare its hash with its name.

    What is needed: all that dvc.lock and models/promoted.dvc name, and every model of the history. Broken off and run
    again, it sends what is lacking. A damaged object is replaced by a whole one where there is one.

    Args:
        workspace: the project.
        to: see :func:`graft.versions.remotes.choose`.

    Raises:
        VersionError: the remote cannot be used, or an object is whole nowhere; the message names its file.
    """
    from graft.versions.store import open_store

    with open_store(workspace) as store:
        chosen = choose(workspace, store, to)
        remote = store.remote(chosen.name) if chosen.name else store.remote_at(chosen.address)
        wanted, lost = _everything(workspace, store, remote)
        oids = list(wanted)
        there = dict(remote.states(oids, "reading back from the remote"))
        here = dict(store.cache.states(oids, "checking the cache"))
        lacking = [oid for oid in oids if there[oid] != "whole"]
        _refuse(store, remote, wanted, here, there)
        # One alone: what is known to arrive becomes the default, and stays it where the rest is broken off.
        _send(remote, store.cache, wanted, lacking[:1])
        notes = keep(workspace, store, chosen)
        _send(remote, store.cache, wanted, lacking[1:])
        damaged = [oid for oid in oids if here[oid] == "damaged"]
        store.cache.take(remote, damaged)
    mended = sum(there[oid] == "damaged" for oid in lacking)
    return Published(
        chosen.address, len(oids), len(lacking) - mended, mended, len(damaged), (*notes, *map(_gone, lost))
    )


def _send(remote: Objects, cache: Objects, wanted: dict[str, Wanted], oids: list[str]) -> None:
    """Send objects and read them back."""
    remote.take(cache, oids)
    for oid, state in remote.states(oids, "reading back what was sent"):
        if state != "whole":
            raise VersionError(
                f"{wanted[oid].path} is {state} at the remote right after it was sent there",
                where=remote.place(oid),
                remedy="look after that storage, and publish again",
            )


def _everything(workspace: Workspace, store: Store, remote: Objects) -> tuple[dict[str, Wanted], list[Wanted]]:
    """Every object that is needed, by name; and models of the history whose list of files is nowhere."""
    now = store.outputs()
    known = {item.oid for item in now}
    past = [Wanted(item.md5, f"models/promoted of {item.title}") for item in history(workspace)]
    found: dict[str, Wanted] = {}
    lost: dict[str, Wanted] = {}
    for item in [*now, *(item for item in past if item.oid not in known)]:
        files = list(_files(item, store.cache, remote))
        if not files and item.oid not in known:
            lost[item.oid] = item
            continue
        for one in [item, *files]:
            found.setdefault(one.oid, one)
    return found, list(lost.values())


def _files(item: Wanted, cache: Objects, remote: Objects) -> Iterator[Wanted]:
    if not item.oid.endswith(DIRECTORY):
        return
    for place in (cache, remote):
        if place.state(item.oid) == "whole":
            yield from (Wanted(oid, f"{item.path}/{name}") for name, oid in place.listed(item.oid))
            return


def _refuse(
    store: Store, remote: Objects, wanted: dict[str, Wanted], here: dict[str, State], there: dict[str, State]
) -> None:
    """Refuse where an object is whole neither here nor there."""
    bad = [oid for oid in wanted if here[oid] != "whole" and there[oid] != "whole"]
    if not bad:
        return
    first = bad[0]
    raise VersionError(
        f"{_named(wanted[oid].path for oid in bad)}: {here[first]} in DVC's cache, and {there[first]} at the remote",
        where=f"{store.cache.place(first)}, {remote.place(first)}",
        remedy="if the file in the project is good, delete the damaged object in the cache and run "
        "`.venv/bin/dvc commit --force`; else make it again with `.venv/bin/dvc repro`, or publish from a clone that "
        "has it",
    )


def _named(paths: Iterable[str]) -> str:
    names = list(paths)
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _gone(item: Wanted) -> str:
    return f"warning: {item.path} is neither in DVC's cache nor at the remote: nobody can go back to it"
