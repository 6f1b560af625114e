"""`rollback`: a model that was promoted before is in use again, byte for byte, without training."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from graft.errors import VersionError
from graft.versions.promote import Change, changing, finish, now, put_in_use
from graft.versions.promotions import before, history, record
from graft.workspace import Workspace

if TYPE_CHECKING:
    from graft.versions.promotions import Promotion
    from graft.versions.store import Store


def rollback(workspace: Workspace, to: int | None = None) -> Change:
    """Bring the previously promoted model back, or the one with number ``to``; a running service takes it by itself.

    Its bytes come from DVC's cache, and what is missing or damaged there from the remote; every file is hashed. The
    history gets a new entry, which is committed and tagged like a promotion. The model that was in use is not
    promoted again unless asked for.

    Raises:
        VersionError: there is no such model, or its bytes are neither in the cache nor at the remote.
    """
    with changing(workspace) as checkout:
        past = history(workspace)
        wanted = before(past, to, workspace.promotions)
        from graft.versions.store import open_store

        with open_store(workspace) as store:
            files = fetch(store, wanted)
            md5 = put_in_use(workspace, store, wanted.version, lambda folder: _copy(store, files, folder))
        if md5 != wanted.md5:
            raise VersionError(
                f"what was brought back is not what was promoted: its hash is {md5}, not {wanted.md5}",
                where=workspace.promoted,
            )
        number = len(past) + 1
        entry = dataclasses.replace(
            wanted,
            number=number,
            action="rollback",
            when=now(),
            replaced=past[-1].version,
            difference=None,
            tag=None if checkout is None else checkout.tag_for(wanted.name, number),
        )
        record(workspace, entry)
        notes = finish(workspace, checkout)
    return Change(entry, f"{entry.title} is in use again, as it was from {wanted.when} on", notes)


def fetch(store: Store, wanted: Promotion) -> tuple[tuple[str, str], ...]:
    """See that the model's files are whole in the cache, taking from the remote what is not; their paths and MD5s.

    Raises:
        VersionError: one is neither here nor there, or damaged in both; the message names it.
    """
    _have(store, [wanted.md5], wanted)
    files = store.cache.listed(wanted.md5)
    _have(store, [oid for _, oid in files], wanted)
    return files


def _have(store: Store, oids: list[str], wanted: Promotion) -> None:
    found = dict(store.cache.states(oids, "looking into the cache"))
    lacking = [oid for oid in oids if found[oid] != "whole"]
    if not lacking:
        return
    why = f"{found[lacking[0]]} in DVC's cache"
    try:
        remote = store.remote()
        there = dict(remote.states(lacking, "looking at the remote"))
    except VersionError as error:
        raise VersionError(
            f"the files of {wanted.title} are {why}, and {error.what}",
            where=store.cache.place(lacking[0]),
            remedy=error.remedy,
        ) from None
    for oid in lacking:
        if there[oid] != "whole":
            raise VersionError(
                f"a file of {wanted.title} is {found[oid]} in DVC's cache and {there[oid]} at the remote",
                where=f"{store.cache.place(oid)}, {remote.place(oid)}",
                remedy="publish from a clone that has it (`graft publish` there), or go back to another model: "
                "`graft history`",
            )
    store.cache.take(remote, lacking)
    for oid, state in store.cache.states(lacking, "checking what was fetched"):
        if state != "whole":
            raise VersionError("a file was damaged on its way from the remote", where=store.cache.place(oid))


def _copy(store: Store, files: tuple[tuple[str, str], ...], folder: Path) -> None:
    for name, oid in files:
        shutil.copyfile(store.cache.database.oid_to_path(oid), folder / name)
