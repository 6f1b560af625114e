"""DVC's graph: the stages in order, which of them are out of date, and one stage run by DVC's own command.

The only module of the flows that touches DVC, by its public ``Repo`` and its command line.
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.command import run_command
from flows.project import ProjectBusyError
from graft.core.errors import GraftError, did_you_mean
from graft.core.workspace import Workspace
from graft.registry.dvc_repo import open_repo

# How many lines of a stage's output explain its failure.
TAIL_LINES = 20
# DVC's command line in a process that ends with the flow that started it, however that ends.
DVC = """\
from graft.core.compat.processes import end_with_parent
end_with_parent()
from dvc.cli import main
raise SystemExit(main())
"""


@dataclass(frozen=True)
class DvcStage:
    """A stage of dvc.yaml: its name, and the paths of its outputs."""

    name: str
    outs: tuple[Path, ...]


@dataclass(frozen=True)
class ChangedInput:
    """The change of a stage's input since the stage's last run.

    Attributes:
        how: new, modified, deleted, or settings.
        content: DVC's hash of what it is now; empty where it is gone.
    """

    how: str
    content: str


def stages_in_order(root: Path, targets: Sequence[str] = (), named: Collection[str] = ()) -> list[DvcStage]:
    """The stages of dvc.yaml in the order in which ``dvc repro`` runs them.

    Args:
        root: the project's folder, in a git checkout or (``core.no_scm``) not.
        targets: only these and what they need; none: all.
        named: further names that must be stages.

    Raises:
        GraftError: DVC cannot read the graph, or there is no such stage.
    """
    import networkx as nx

    with _repo(root) as repo:
        graph = repo.index.graph
        by_name = {stage.addressing: stage for stage in graph}
        for name in (*targets, *named):
            if name not in by_name:
                raise GraftError(f"there is no stage '{name}'", where="dvc.yaml", remedy=did_you_mean(name, by_name))
        wanted = set(graph)
        if targets:
            wanted = {by_name[name] for name in targets}
            wanted |= {stage for target in wanted for stage in nx.descendants(graph, target)}
        # An arrow leads from a stage to what it needs.
        ordered = [stage for stage in nx.dfs_postorder_nodes(graph) if stage in wanted]
        return [DvcStage(item.addressing, tuple(Path(out.fs_path) for out in item.outs)) for item in ordered]


def changed_stages(root: Path, stages: Sequence[str]) -> set[str]:
    """Those of ``stages`` that DVC would run now; all of them where another DVC process has the project locked."""
    from dvc.lock import LockError

    with _repo(root) as repo:
        try:
            return set(repo.status(targets=list(stages)))
        except LockError:
            return set(stages)


def run_stage(root: Path, stage: str, on_line: Callable[[str], None], *options: str) -> None:
    """Bring one stage up to date: ``dvc repro --single-item``; where another DVC has the lock, it waits for it.

    Args:
        root: the project's folder.
        stage: its name in dvc.yaml.
        on_line: called with every line that DVC and the stage print.
        options: further ones of ``dvc repro``, such as ``--force``.

    Raises:
        GraftError: it failed; the message is the stage's own where it has one.
    """
    run_dvc(root, f"stage '{stage}' failed", on_line, "--wait-for-lock", "repro", "--single-item", *options, stage)


def run_dvc(root: Path, failure: str, on_line: Callable[[str], None], *arguments: str) -> None:
    """Run DVC's command in ``root``.

    Raises:
        GraftError: it failed; ``failure`` begins the message.
    """
    printed: deque[str] = deque(maxlen=TAIL_LINES)

    def keep(line: str) -> None:
        printed.append(line)
        on_line(line)

    if run_command([sys.executable, "-c", DVC, *arguments], keep, root) != 0:
        raise GraftError(f"{failure}: {_reason(printed)}")


def changed_inputs(root: Path, stages: Sequence[str]) -> dict[str, ChangedInput]:
    """Inputs of ``stages`` that changed since their last run, by path; outputs of other stages are not counted.

    DVC compares files by their place, size and time, and reads only what those say is changed: asking is cheap.

    Args:
        root: the project's folder.
        stages: names in dvc.yaml; those that are not there are passed over.

    Raises:
        ProjectBusyError: one of them is at work just now, and so its inputs cannot be compared.
        GraftError: there is no graph here, or DVC cannot read it.
    """
    from dvc.lock import LockError

    with _repo(root) as repo:
        asked = [stage for stage in repo.index.stages if stage.addressing in stages]
        try:
            status = repo.status(targets=[stage.addressing for stage in asked]) if asked else {}
        except LockError as error:
            raise ProjectBusyError(f"a run is taking the data in just now: {error}", where=root) from error
        entries = [entry for found in status.values() for entry in found if isinstance(entry, dict)]
        changed = {path: how for entry in entries for path, how in entry.get("changed deps", {}).items()}
        made = [Path(out.fs_path) for out in repo.index.outs if out.protocol == "local"]
        return {
            str(dep): ChangedInput(how if isinstance(how, str) else "settings", _content(dep))
            for stage in asked
            for dep in stage.deps
            if (how := changed.get(str(dep))) and not any(Path(dep.fs_path).is_relative_to(out) for out in made)
        }


@contextmanager
def _repo(root: Path) -> Iterator[Any]:
    """DVC's repository in ``root``, its refusals as GraftError."""
    if not root.is_dir():
        raise GraftError("there is no such folder", where=root)
    # DVC takes and gives paths relative to the current folder.
    with contextlib.chdir(root), open_repo(Workspace()) as repo:
        yield repo


def _content(dep: Any) -> str:
    try:
        return str(dep.get_hash().value)
    except OSError:
        return ""


def _reason(printed: Collection[str]) -> str:
    """The stage's own message (``error: what``, ``where`` and ``remedy`` below it), else the last lines."""
    lines = [line for line in printed if line]
    starts = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    if starts:
        what, *below = lines[starts[-1] :]
        details = [line for line in below if line.startswith("  ")]
        return "\n".join([what.removeprefix("error: "), *details])
    killed = any(line.endswith("exited with -9") for line in lines)
    why = "it was killed (SIGKILL), as happens when memory runs out; " if killed else ""
    return f"{why}the last it printed:" + "".join(f"\n    {line}" for line in lines or ["(nothing)"])
