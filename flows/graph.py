"""DVC's own graph, run in this process: the only module that touches ``dvc.repo``.

DVC keeps what it is good at: the order of the stages, what is out of date, the run cache, the locks and
``dvc.lock``. A caller gets each stage in its turn as a :class:`Step`, runs it, and may show it as it likes. That is
why ``dvc repro`` and the flow cannot drift apart. tests/flows/test_graph.py holds the contract with the installed DVC.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.command import run_command
from flows.outcome import Outcome, StageError, StageRun, command_failed, took_too_long
from flows.turn import BusyError
from graft.core.errors import GraftError, did_you_mean

# How much of a stage's output is kept to explain its failure.
TAIL_LINES = 200
# While another process works in this project, how often to look whether it is done.
POLL_SECONDS = 1.0

Say = Callable[[str], None]


class Step:
    """One stage whose turn it is. ``run`` may be called again after a failure."""

    def __init__(self, stage: Any, options: dict[str, Any], say: Say) -> None:
        self.name: str = stage.addressing
        self._stage, self._options, self._say = stage, options, say

    def run(self, on_line: Say = lambda line: None, timeout: float | None = None) -> StageRun:
        """Let DVC bring the stage up to date.

        Args:
            on_line: called with every line that the stage prints.
            timeout: seconds that its command may take; then all its processes are ended.

        Raises:
            StageError: the command failed, or DVC could not do its part.
        """
        from dvc.exceptions import DvcException

        printed: deque[str] = deque(maxlen=TAIL_LINES)
        statuses: list[int] = []

        def keep(line: str) -> None:
            printed.append(line)
            on_line(line)

        start = time.perf_counter()
        try:
            with _commands_recorded(self.name, keep, statuses, timeout):
                changed = self._bring_up_to_date()
        except GraftError:
            raise
        except (DvcException, OSError) as error:
            if statuses and statuses[-1] != 0:
                raise command_failed(self.name, statuses[-1], printed) from error
            raise StageError(self.name, _text(error), output=printed) from error
        outcome = Outcome.UNCHANGED if not changed else Outcome.RAN if statuses else Outcome.RESTORED
        outs = tuple(Path(out.fs_path) for out in self._stage.outs)
        return StageRun(self.name, outcome, outs, time.perf_counter() - start)

    def _bring_up_to_date(self) -> bool:
        from dvc.lock import LockError
        from dvc.repo.reproduce import _reproduce_stage

        told = False
        while True:
            try:
                return _reproduce_stage(self._stage, **self._options) is not None
            except LockError as error:
                if not told:
                    self._say(f"waiting for another run to finish with '{self.name}': {_owner(error)}")
                    told = True
                self._step_aside()

    def _step_aside(self) -> None:
        # The other process needs the project's lock to finish its stage, so it must not be held while waiting.
        repo = self._stage.repo
        repo.lock.unlock()
        repo._reset()
        time.sleep(POLL_SECONDS)
        repo.lock.lock()


def _tell_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def reproduce(
    root: Path,
    around: Callable[[Step], StageRun] = Step.run,
    *,
    targets: Sequence[str] = (),
    force: bool = False,
    named: Collection[str] = (),
    say: Say = _tell_stderr,
) -> list[StageRun]:
    """Run dvc.yaml in ``root``, calling ``around`` with every stage in order; it calls ``step.run``.

    Args:
        root: the project's folder, with a git checkout or (``core.no_scm``) without.
        around: what happens around a stage; what it returns is returned, what it raises ends the run.
        targets: stages to bring up to date with all that they need; none: all stages.
        force: run stages although nothing changed.
        named: stages that the caller has settings for, and that therefore have to be there.
        say: called with a line for people when another process has to be waited for.

    Raises:
        StageError: a stage failed.
        GraftError: there is no graph to run here, or DVC cannot read it, or a stage that is named is not in it.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    if not root.is_dir():
        raise GraftError("there is no such folder", where=root)
    done: list[StageRun] = []
    raised: list[Exception] = []  # DVC wraps what a stage raises; the caller shall get it as it was

    def one_stage(stage: Any, **options: Any) -> Any:
        try:
            done.append(around(Step(stage, options, say)))
        except Exception as error:
            raised.append(error)
            raise
        return stage if done[-1].outcome is not Outcome.UNCHANGED else None

    try:
        # DVC takes and gives paths relative to the current folder, so the project's becomes that one, as with --cd.
        with contextlib.chdir(root), _quiet_dvc(), Repo(_wait_for_lock=True) as repo:
            _refuse_unknown(named, repo)
            _say_if_locked(repo, say)
            repo.reproduce(targets=list(targets) or None, force=force, repro_fn=one_stage)
    except DvcException as error:
        if raised:
            raise raised[-1] from None
        raise GraftError(_text(error), where=root, remedy=_remedy(error)) from error
    return done


@dataclass(frozen=True)
class ChangedInput:
    """How an input of a stage differs from what the stage ran on last.

    Attributes:
        how: new, modified, deleted, or settings.
        content: DVC's hash of what it is now; empty where it is gone.
    """

    how: str
    content: str


def changed_inputs(root: Path, stages: Sequence[str]) -> dict[str, ChangedInput]:
    """Which inputs of ``stages`` are not what they were when these ran last, by path; what stages make is no input.

    DVC compares files by their place, size and time, and reads only what those say is changed: asking is cheap.

    Args:
        root: the project's folder.
        stages: names in dvc.yaml; those that are not there are passed over.

    Raises:
        BusyError: one of them is at work just now, and so its inputs cannot be compared.
        GraftError: there is no graph here, or DVC cannot read it.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    found: dict[str, Any] = {}
    try:
        with contextlib.chdir(root), _quiet_dvc(), Repo(_wait_for_lock=True) as repo:
            asked = [stage for stage in repo.index.stages if stage.addressing in stages]
            status = repo.status(targets=[stage.addressing for stage in asked]) if asked else {}
            for entries in status.values():
                for entry in entries:
                    found.update(entry.get("changed deps", {}) if isinstance(entry, dict) else {})
            made = [Path(out.fs_path) for out in repo.index.outs if out.protocol == "local"]
            return {
                str(dep): ChangedInput(how if isinstance(how, str) else "settings", _content(dep))
                for stage in asked
                for dep in stage.deps
                if (how := found.get(str(dep))) and not any(Path(dep.fs_path).is_relative_to(out) for out in made)
            }
    except LockError as error:
        raise BusyError(f"a run is taking the data in just now: {_owner(error)}", where=root) from error
    except DvcException as error:
        raise GraftError(_text(error), where=root, remedy=_remedy(error)) from error


def _content(dep: Any) -> str:
    try:
        return str(dep.get_hash().value)
    except OSError:
        return ""


@contextmanager
def _commands_recorded(stage: str, on_line: Say, statuses: list[int], timeout: float | None) -> Iterator[None]:
    """Have DVC run stage commands through flows.command; DVC itself lets them write to the terminal unseen."""
    import dvc.stage.run as dvc_run
    from dvc.stage.exceptions import StageCmdFailedError

    def run(executable: str | None, cmd: str, *, cwd: str, env: dict[str, str], **_: Any) -> None:
        argv = dvc_run._make_cmd(executable, cmd)
        try:
            statuses.append(run_command(argv, on_line, cwd=Path(cwd), env=env, timeout=timeout))
        except subprocess.TimeoutExpired:
            raise took_too_long(stage, timeout or 0.0) from None
        if statuses[-1] != 0:
            raise StageCmdFailedError(cmd, statuses[-1])

    original = dvc_run._run
    dvc_run._run = run
    try:
        yield
    finally:
        dvc_run._run = original


@contextmanager
def _quiet_dvc() -> Iterator[None]:
    """DVC tells its own story on stdout as soon as it is imported; here the caller tells it. Warnings stay."""
    logger = logging.getLogger("dvc")
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.WARNING)
    logger.propagate = False  # it has a handler of its own, and Prefect gives the root logger another
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.propagate = propagate


def _refuse_unknown(named: Collection[str], repo: Any) -> None:
    known = [stage.addressing for stage in repo.index.stages] if named else []
    for name in named:
        if name not in known:
            raise GraftError(f"there is no stage '{name}'", where="dvc.yaml", remedy=did_you_mean(name, known))


def _say_if_locked(repo: Any, say: Say) -> None:
    """DVC waits for the project's lock in silence, so look at the lock first and say who holds it."""
    from dvc.lock import LockError, make_lock

    path = Path(repo.tmp_dir) / "lock"
    hardlink = repo.config["core"].get("hardlink_lock", False)
    try:
        with make_lock(str(path), tmp_dir=repo.tmp_dir, hardlink_lock=hardlink):
            return
    except LockError:
        pid = path.read_text(encoding="utf-8", errors="replace").strip()
        owner = f" (PID {pid})" if pid.isdigit() else ""
        say(f"waiting for another DVC process{owner} to let go of this project")


def _text(error: BaseException) -> str:
    """DVC's message with that of its cause, which often is the one that says something."""
    texts = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        if str(error) and str(error) not in texts[-1]:
            texts.append(str(error))
    return ": ".join(texts)


def _owner(error: Exception) -> str:
    """The line of DVC's message that names the process in the way."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line.startswith("(PID")), lines[0])


def _remedy(error: Exception) -> str | None:
    from dvc.exceptions import NotDvcRepoError
    from dvc.scm import SCMError

    if isinstance(error, NotDvcRepoError):
        return "run from the project's folder, where dvc.yaml lies"
    if isinstance(error, SCMError):
        return "this is no git checkout: say so once with `.venv/bin/dvc config --local core.no_scm true`"
    return None
