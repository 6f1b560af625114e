"""What becomes of a stage: that it ran, was restored or was unchanged, or the one error that says why it failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from flows.command import describe_status
from graft.core.errors import GraftError


class Outcome(Enum):
    """What became of a stage."""

    RAN = "ran"
    RESTORED = "restored"  # its command was not run: DVC had the result of the same inputs in its run cache
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class StageRun:
    """A stage that is done: its name, what became of it, its output paths, and how long it took."""

    name: str
    outcome: Outcome
    outs: tuple[Path, ...]
    seconds: float


class StageError(GraftError):
    """A stage that failed.

    Attributes:
        stage: the stage's name in dvc.yaml.
        output: the last lines it printed.
    """

    def __init__(self, stage: str, what: str, *, output: Sequence[str] = (), remedy: str | None = None) -> None:
        self.stage = stage
        self.output = tuple(output)
        super().__init__(f"stage '{stage}' failed: {what}", remedy=remedy)


def command_failed(stage: str, status: int, printed: Sequence[str]) -> StageError:
    """The stage's own last message where it has one (it names file, key and remedy), else its last lines."""
    lines = [line for line in printed if line]
    starts = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    if starts:
        message = "\n".join(lines[starts[-1] :]).removeprefix("error: ")
        return StageError(stage, message, output=printed)
    last = "".join(f"\n    {line}" for line in lines[-20:]) or "\n    (nothing)"
    return StageError(stage, f"it {describe_status(status)}; the last it printed:{last}", output=printed)


def took_too_long(stage: str, seconds: float) -> StageError:
    """The error of a stage that was ended because its time was over."""
    return StageError(
        stage,
        f"it took longer than {seconds:g} s, so it was ended with all its processes",
        remedy=f"give it more time in the flow's parameter `timeouts`, such as {{{stage}: {2 * seconds:g}}}",
    )
