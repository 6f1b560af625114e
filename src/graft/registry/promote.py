"""`promote`: puts the packaged model into production if it is better than the production model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.errors import VersionError, WeightsError
from graft.core.files import DEBRIS, atomic_dir
from graft.core.workspace import Workspace
from graft.inference.artifact import read_artifact
from graft.inference.integrity import check_integrity
from graft.inference.package import PackagedModel, files_of, read_package, version_of
from graft.registry.dvc_repo import open_repo
from graft.registry.git import Checkout
from graft.registry.history import Promotion, history, record
from graft.registry.rule import decide

if TYPE_CHECKING:
    from dvc.repo import Repo

# Keys of the evaluation's metrics that go into the history.
_FIGURES = ("accuracy", "accuracy_ci95", "macro_f1", "balanced_accuracy", "log_loss", "n_test", "latency_ms", "size_mb")


@dataclass(frozen=True)
class PromotionResult:
    """The outcome of a promotion or rollback.

    Attributes:
        promotion: the new entry of the history; None where the production model stays.
        sentence: what was done, or why nothing was.
        notes: what else the user should know.
    """

    promotion: Promotion | None
    sentence: str
    notes: tuple[str, ...] = ()


def promote(workspace: Workspace, *, anyway: bool = False) -> PromotionResult:
    """Put the packaged model into production if it is better than the production model.

    It is copied to models/promoted and added to DVC, committed and tagged. Interrupted, it is finished by running it
    again.

    Args:
        workspace: the project.
        anyway: promote it whether it is better or not.

    Raises:
        VersionError: there is nothing to compare by, or models/promoted holds files of the user's, or git, GTO or DVC
            refuses.
        WeightsError: nothing is packaged, or it is damaged.
    """
    with promotion_lock(workspace) as checkout:
        package, past = read_package(workspace.packaged), history(workspace)
        check_integrity(workspace.packaged)
        if past and past[-1].version == package.version:
            return PromotionResult(None, f"{past[-1].title} is in use already")
        decision = None if anyway else decide(package, past, workspace)
        if decision is not None and not decision.promote:
            return PromotionResult(None, f"{package.tag} is not promoted: {decision.sentence}")
        known = {item.version for item in past} | {package.version}
        with open_repo(workspace) as repo:
            md5 = replace_promoted(
                workspace, repo, package.version, known, lambda folder: _copy(workspace.packaged, folder)
            )
        promotion = record(workspace, checkout, _entry(package, past, md5))
    why = "as asked" if decision is None else decision.sentence
    return PromotionResult(promotion, f"{promotion.title} is in use now: {why}", notes_of(promotion))


@contextmanager
def promotion_lock(workspace: Workspace) -> Iterator[Checkout | None]:
    """Hold the lock of promotions, and yield the git checkout, ready for a commit; None without git.

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


def replace_promoted(
    workspace: Workspace, repo: Repo, version: str, known: set[str], fill: Callable[[Path], None]
) -> str:
    """Replace models/promoted in one step, and add it to DVC; returns DVC's hash of it.

    Args:
        workspace: the project.
        repo: its DVC repository.
        version: the model's version, which is checked.
        known: versions that graft may have put there; any other is the user's and is not replaced.
        fill: writes the model into an empty folder.

    Raises:
        GraftError: models/promoted holds files of the user's, or what was filled in is another or a damaged model.
    """
    _check_replaceable(workspace.promoted, known)
    with atomic_dir(workspace.promoted) as beside:
        fill(beside)
        check_integrity(beside)
        if version_of(beside) != version:
            raise VersionError(f"these files are not those of version {version}", where=workspace.promoted)
    # Files are not linked to the cache anew: a service may be reading them.
    (stage,) = repo.add(str(workspace.promoted.resolve()), relink=False)
    return str(stage.outs[0].hash_info.value)


def _check_replaceable(folder: Path, known: set[str]) -> None:
    """Refuse to replace what is not, file by file, a model that graft put there."""
    there = {
        os.path.relpath(Path(place) / name, folder)
        for place, _, names in os.walk(folder)
        for name in names
        if name.casefold() not in DEBRIS
    }
    if not there:
        return
    try:
        check_integrity(folder)
        is_ours = version_of(folder) in known
        foreign = there - set(files_of(read_artifact(folder), read_package(folder))) if is_ours else there
    except WeightsError:
        foreign = there
    if foreign:
        raise VersionError(
            f"models/promoted is to be replaced, and graft did not write what lies there: {', '.join(sorted(foreign))}",
            where=folder,
            remedy=f"move what is yours elsewhere; where nothing of it is yours, delete {folder} (in a clone without "
            "tags: git fetch --tags)",
        )


def notes_of(promotion: Promotion) -> tuple[str, ...]:
    """What else the user should know of a promotion."""
    if promotion.tag is None:
        return ("there is no git checkout here, so there is no commit and no tag",)
    return (f"committed and tagged {promotion.tag}: `git push --follow-tags` tells other clones",)


def _copy(source: Path, folder: Path) -> None:
    for file in sorted(source.iterdir()):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)


def _entry(package: PackagedModel, past: Sequence[Promotion], md5: str) -> Promotion:
    replaced = past[-1].version if past else None
    origin: dict[str, Any] = dict(package.origin)
    return Promotion(
        number=len(past) + 1,
        action="promote",
        when=now(),
        name=package.name,
        version=package.version,
        md5=md5,
        replaced=replaced,
        difference=_against(package, replaced),
        figures={name: package.metrics[name] for name in _FIGURES if name in package.metrics},
        **{name: origin.get(name) for name in ("data", "params", "commit")},
    )


def _against(package: PackagedModel, replaced: str | None) -> dict[str, Any] | None:
    found = package.metrics.get("production")
    if replaced is None or not isinstance(found, dict) or found.get("version") != replaced:
        return None
    if found.get("difference") is None:
        return None
    return {"value": found["difference"], "ci95": found.get("difference_ci95"), "p_value": found.get("p_value")}


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
