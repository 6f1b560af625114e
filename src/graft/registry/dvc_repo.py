"""Opens the project's DVC repository; every use of DVC in this package goes through its public methods."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.errors import GraftError, VersionError
from graft.core.files import write_text
from graft.core.telemetry import switch_off
from graft.core.workspace import Workspace

if TYPE_CHECKING:
    from dvc.repo import Repo


@contextmanager
def open_repo(workspace: Workspace, config: Mapping[str, Any] | None = None) -> Iterator[Repo]:
    """Open the project's DVC repository; errors inside the block are raised as VersionError.

    Args:
        workspace: the project.
        config: settings that are added to those of .dvc/config for this once.

    Raises:
        VersionError: this is no DVC project, or DVC, the remote or the disk refuses.
    """
    switch_off()
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import SCMError

    root = workspace.root.resolve()
    try:
        with _quiet_dvc(), Repo(str(root), config=dict(config or {})) as repo:
            yield repo
    except NotDvcRepoError:
        raise VersionError(
            "this is no DVC project", where=root, remedy="run from the project's folder, where dvc.yaml lies"
        ) from None
    except SCMError:
        raise VersionError(
            "DVC looks for a git checkout, and this is none",
            where=root,
            remedy="say so once: .venv/bin/dvc config --local core.no_scm true",
        ) from None
    except GraftError:
        raise
    except Exception as error:  # a remote's library has exceptions of its own
        raise VersionError(
            f"DVC cannot do this: {_text(error)}",
            where=root,
            remedy="see that cache and remote can be reached and written, and that there is room; then run again",
        ) from error


def _text(error: BaseException) -> str:
    """The error's message, with those of its causes."""
    texts = [str(error) or type(error).__name__]
    while (error := error.__cause__ or error.__context__) is not None:  # type: ignore[assignment]
        if str(error) and not any(str(error) in text for text in texts):
            texts.append(str(error))
    return ": ".join(texts)


@contextmanager
def _quiet_dvc() -> Iterator[None]:
    """Hide DVC's hints on stdout, which do not fit here; warnings stay."""
    logger = logging.getLogger("dvc")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def versions_file(workspace: Workspace, versions: Mapping[str, str]) -> Iterator[Path]:
    """A .dvc file that names models of the history, for as long as the block takes.

    models/promoted.dvc names the production model alone; by this file DVC finds the ones before it.

    Args:
        workspace: the project.
        versions: each model's version, and DVC's hash of its folder. To DVC it lies in :func:`path_of`.
    """
    path = workspace.root.resolve() / "promoted-versions.dvc"
    outs = (f"- md5: {md5}\n  hash: md5\n  path: {path_of(version)}\n" for version, md5 in versions.items())
    write_text(path, "outs:\n" + "".join(outs))
    try:
        yield path
    finally:
        path.unlink()


def path_of(version: str) -> str:
    """The path of a model of the history in DVC's file system; nothing is written there."""
    return f".graft/versions/{version}"
