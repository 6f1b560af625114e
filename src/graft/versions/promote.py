"""`promote`: the packaged model becomes the one in use, if it is better; its bytes are kept, and it is written down."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.errors import VersionError
from graft.files import whole_folder
from graft.packaged import Package, read_package, version_of
from graft.runtime.agreement import check_agreement
from graft.versions.checkout import Checkout
from graft.versions.promotions import Promotion, history, record
from graft.versions.rule import decide
from graft.workspace import Workspace

if TYPE_CHECKING:
    from graft.versions.store import Store

# Keys of the evaluation's figures that the history tells.
_FIGURES = ("accuracy", "accuracy_ci95", "macro_f1", "balanced_accuracy", "log_loss", "n_test", "latency_ms", "size_mb")


@dataclass(frozen=True)
class Change:
    """What came of it.

    Attributes:
        promotion: the entry that was added to the history; None where the model in use stays.
        sentence: what was done, or why nothing was.
        notes: what else the user should know.
    """

    promotion: Promotion | None
    sentence: str
    notes: tuple[str, ...] = ()


def promote(workspace: Workspace, *, anyway: bool = False) -> Change:
    """Make the packaged model the one in use, if it is better than that.

    It is copied to models/promoted, its bytes go into DVC's cache, the history gets an entry, and in a git checkout
    that is committed (and nothing else) and tagged. Killed or failing in between, it is finished by running it again.

    Args:
        workspace: the project.
        anyway: whether it is better or not.

    Raises:
        VersionError: there is nothing to compare by, git or DVC cannot do their part.
        WeightsError: nothing is packaged, or it is damaged.
    """
    with changing(workspace) as checkout:
        package, past = read_package(workspace.packaged), history(workspace)
        check_agreement(workspace.packaged)
        if past and past[-1].version == package.version:
            return Change(None, f"{past[-1].title} is in use already", finish(workspace, checkout))
        decision = decide(package, past, workspace) if not anyway else None
        if decision is not None and not decision.promote:
            return Change(None, f"{package.tag} is not promoted: {decision.sentence}")
        from graft.versions.store import open_store

        with open_store(workspace) as store:
            md5 = put_in_use(workspace, store, package.version, lambda folder: _copy(workspace.packaged, folder))
        promotion = _entry(workspace, checkout, package, past, md5)
        record(workspace, promotion)
        notes = finish(workspace, checkout)
    why = "as asked" if decision is None else decision.sentence
    return Change(promotion, f"{promotion.title} is in use now: {why}", notes)


@contextmanager
def changing(workspace: Workspace) -> Iterator[Checkout | None]:
    """Keep other promotions out, and yield the git checkout, which is ready for a commit; None without git.

    Raises:
        VersionError: git is not ready, or another promotion takes longer than a minute.
    """
    from filelock import FileLock, Timeout

    lock = workspace.root / ".graft" / "promotion.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=60):
            checkout = Checkout.of(workspace.root)
            if checkout is not None:
                checkout.check_ready()
            yield checkout
    except Timeout:
        raise VersionError(
            "another promotion or rollback is under way in this folder", where=lock, remedy="wait for it, run again"
        ) from None


def put_in_use(workspace: Workspace, store: Store, version: str, fill: Callable[[Path], None]) -> str:
    """Fill models/promoted anew, whole, with its bytes in DVC's cache; return DVC's hash of it.

    The bytes go into the cache before the model is in use: where the disk is full, nothing has changed.

    Raises:
        GraftError: what was filled in is not the model of that version, or DVC cannot keep it.
    """
    with whole_folder(workspace.promoted) as beside:
        fill(beside)
        check_agreement(beside)
        if version_of(beside) != version:
            raise VersionError(f"these files are not those of version {version}", where=workspace.promoted)
        md5 = store.keep(beside)
    tracked = store.track(workspace.promoted)
    if tracked != md5:
        raise VersionError("models/promoted was changed while it was promoted", where=workspace.promoted)
    return md5


def finish(workspace: Workspace, checkout: Checkout | None) -> tuple[str, ...]:
    """Commit and tag what the last entry of the history says, unless that is done; return what is to be told.

    Raises:
        VersionError: git refuses; running again tries again.
    """
    last = history(workspace)[-1]
    if checkout is None:
        return ("there is no git checkout here, so there is no commit and no tag",)
    # Numbers begin anew on a branch that parted before the first promotion, and the tag may be another's.
    is_taken = last.tag is not None and checkout.has_tag(last.tag)
    if last.tag is None or (is_taken and not checkout.changed(workspace.promotions)):
        return ()
    written = (pointer(workspace), workspace.promotions)
    if checkout.changed(*written):
        paths = (*written, workspace.root / "dvc.lock", workspace.params)
        checkout.commit(paths, f"{last.action.capitalize()} {last.title}")
    if is_taken:
        return (f"warning: committed, but not tagged: another commit has the tag {last.tag} already",)
    checkout.tag(last.tag, f"{last.action} {last.title}", workspace.promotions)
    return (f"committed and tagged {last.tag}: `git push --follow-tags` tells other clones",)


def pointer(workspace: Workspace) -> Path:
    """The small file in git that says which bytes models/promoted has."""
    return workspace.promoted.with_name(f"{workspace.promoted.name}.dvc")


def _copy(source: Path, folder: Path) -> None:
    for file in sorted(source.iterdir()):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)


def _entry(
    workspace: Workspace, checkout: Checkout | None, package: Package, past: Sequence[Promotion], md5: str
) -> Promotion:
    number, replaced = len(past) + 1, past[-1].version if past else None
    origin: dict[str, Any] = dict(package.origin)
    return Promotion(
        number=number,
        action="promote",
        when=now(),
        name=package.name,
        version=package.version,
        md5=md5,
        replaced=replaced,
        difference=_against(package, replaced),
        figures={name: package.metrics[name] for name in _FIGURES if name in package.metrics},
        tag=None if checkout is None else checkout.tag_for(package.name, number),
        **{name: origin.get(name) for name in ("data", "params", "commit")},
    )


def _against(package: Package, replaced: str | None) -> dict[str, Any] | None:
    found = package.metrics.get("incumbent")
    if replaced is None or not isinstance(found, dict) or found.get("version") != replaced:
        return None
    if found.get("difference") is None:
        return None
    return {"value": found["difference"], "ci95": found.get("difference_ci95"), "p_value": found.get("p_value")}


def now() -> str:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
