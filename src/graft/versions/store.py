"""DVC's cache, remotes and tracked files: the only module of graft's rooms that touches ``dvc``.

tests/versions holds the contract with the installed DVC: what is written here is what its own commands read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graft.errors import GraftError, VersionError
from graft.files import write_text
from graft.telemetry import switch_off
from graft.versions.objects import Objects, Wanted
from graft.workspace import Workspace

_ONCE = "graft-this-once"


class Store:
    """What DVC keeps for one project; see :func:`open_store`."""

    def __init__(self, repo: Any, workspace: Workspace) -> None:
        self._repo, self._workspace = repo, workspace
        self.cache = Objects(repo.cache.local, "the cache", _trouble_of("DVC's cache", repo.cache.local.path))

    def keep(self, folder: Path) -> str:
        """Put a folder's files into the cache and return the hash of the folder, as ``dvc add`` would name it.

        Raises:
            GraftError: the cache cannot be written, as on a full disk; the folder itself is not touched.
        """
        from dvc.fs import localfs
        from dvc_data.hashfile.build import build
        from dvc_data.hashfile.transfer import transfer

        cache = self._repo.cache.local
        try:
            staging, _, found = build(cache, str(folder.resolve()), localfs, "md5")
            tree: Any = found  # a folder's
            oids = [str(tree.oid), *(str(item.value) for _, _, item in tree)]
            # DVC takes what is there by that name for whole; what is damaged has to go first.
            for oid in oids:
                if self.cache.state(oid) == "damaged":
                    cache.delete(oid)
            transfer(staging, cache, {tree.hash_info}, shallow=False, hardlink=False)
        except Exception as error:
            raise self.cache.trouble(error) from error
        # Read back: DVC goes on after a file that could not be copied.
        for oid in oids:
            if (state := self.cache.state(oid)) != "whole":
                raise VersionError(
                    f"a file of the model is {state} in DVC's cache after it was copied there",
                    where=self.cache.place(oid),
                    remedy="make room there and run again; the model in use is still the one before",
                )
        return str(tree.oid)

    def track(self, folder: Path) -> str:
        """Write ``<folder>.dvc`` as ``dvc add`` does, and return the folder's hash; its files are left as they are.

        Raises:
            GraftError: DVC refuses.
        """
        try:
            # Not linked to the cache anew: a service may be reading these files.
            (stage,) = self._repo.add(str(folder.resolve()), relink=False)
        except Exception as error:
            raise self.cache.trouble(error) from error
        return str(stage.outs[0].hash_info.value)

    def outputs(self) -> list[Wanted]:
        """What dvc.lock and the ``.dvc`` files name and DVC keeps: a hash for each file and folder."""
        found = []
        for out in self._repo.index.outs:
            if out.use_cache and out.can_push and out.hash_info and out.hash_info.name == "md5":
                path = Path(out.fs_path).resolve().relative_to(self._workspace.root.resolve())
                found.append(Wanted(str(out.hash_info.value), path.as_posix()))
        return found

    @property
    def remotes(self) -> Mapping[str, str]:
        """The configured remotes, by name: their addresses."""
        return {name: str(values["url"]) for name, values in self._repo.config["remote"].items() if "url" in values}

    @property
    def default_remote(self) -> str | None:
        """Name of the remote that `dvc push` and `dvc pull` use."""
        return self._repo.config["core"].get("remote") or None

    def check_address(self, url: str) -> None:
        """Refuse what DVC knows no protocol for; written into its configuration, it would refuse every command.

        Raises:
            VersionError: as said.
        """
        from dvc.config import ConfigError

        try:
            self._repo.config.validate({"remote": {_ONCE: {"url": url}}})
        except ConfigError as error:
            raise VersionError(
                f"DVC cannot use this address: {error}",
                where=url,
                remedy="name a folder, or an address such as s3://bucket/path, ssh://host/path or https://host/path",
            ) from None

    def add_remote(self, name: str, url: str) -> None:
        """Make ``url`` the default remote, in .dvc/config, where other clones see it.

        Raises:
            VersionError: DVC cannot write the address; the file is as it was.
        """
        file = Path(self._repo.config.files["repo"])
        before = file.read_text(encoding="utf-8")
        try:
            with self._repo.config.edit("repo") as config:
                config["remote"][name] = {"url": url}
                config["core"]["remote"] = name
        except UnicodeEncodeError:
            write_text(file, before)  # DVC had emptied it
            raise VersionError(
                "DVC cannot write this address into its configuration, for it has other letters than ASCII's",
                where=url,
                remedy="name it by a path without them, such as that of a link to the folder",
            ) from None
        # A folder's address is written relative to the file; read back what DVC makes of it.
        self._repo.config.read()

    def remote(self, name: str | None = None) -> Objects:
        """The remote of that name, or the default one.

        Raises:
            GraftError: there is none, or what it needs is not installed.
        """
        from dvc.config import NoRemoteError

        try:
            found = self._repo.cloud.get_remote(name)
            address = str(found.fs.unstrip_protocol(found.path)).removeprefix("file://")
            return Objects(found.odb, "the remote", _trouble_of("the remote", address))
        except NoRemoteError:
            raise VersionError(
                "no remote is configured, so there is nowhere else to look",
                where=self._workspace.root / ".dvc" / "config",
                remedy="`graft publish` sets one up; `dvc remote add -d NAME ADDRESS` names an existing one",
            ) from None
        except Exception as error:
            raise _trouble_of("the remote", name)(error) from error

    def remote_at(self, address: str) -> Objects:
        """The remote at an address that is not configured, for this once."""
        self._repo.config["remote"][_ONCE] = {"url": address}
        return self.remote(_ONCE)


@contextmanager
def open_store(workspace: Workspace) -> Iterator[Store]:
    """DVC's side of the project. Its lock is taken by what needs it alone, and waited for.

    A `dvc repro` beside it gives up after three seconds without the lock, and to publish may take minutes.

    Raises:
        GraftError: this is no DVC project, or DVC cannot read it.
    """
    switch_off()
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import SCMError

    with _quiet_dvc():
        try:
            repo = Repo(str(workspace.root.resolve()), _wait_for_lock=True)
        except NotDvcRepoError:
            raise VersionError(
                "this is no DVC project", where=workspace.root, remedy="run in the folder where dvc.yaml lies"
            ) from None
        except SCMError:
            raise VersionError(
                "DVC looks for a git checkout, and this is none",
                where=workspace.root,
                remedy="say so once: .venv/bin/dvc config --local core.no_scm true",
            ) from None
        except DvcException as error:
            raise VersionError(f"DVC cannot read this project: {_text(error)}", where=workspace.root) from error
        with repo:
            yield Store(repo, workspace)


def _trouble_of(what: str, where: object) -> Callable[[Exception], GraftError]:
    """Turn what a file system or a network raises into one message."""

    def trouble(error: Exception) -> GraftError:
        if isinstance(error, GraftError):
            return error
        return VersionError(
            f"{what} cannot be used: {_text(error)}",
            where=where,
            remedy="see that it can be reached, that there is room and that you may write there; then run again: what "
            "is there already stays",
        )

    return trouble


def _text(error: BaseException) -> str:
    """A message with those of its causes that add something."""
    texts = [str(error) or type(error).__name__]
    while (error := error.__cause__ or error.__context__) is not None:  # type: ignore[assignment]
        if str(error) and not any(str(error) in text for text in texts):
            texts.append(str(error))
    return ": ".join(texts)


@contextmanager
def _quiet_dvc() -> Iterator[None]:
    """DVC tells its own story on stdout as soon as it is imported; here graft tells it. Warnings stay."""
    logger = logging.getLogger("dvc")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
