"""Checkpoints on disk: tensors as safetensors, numbers as JSON, whole, checksummed, and the two latest of them kept."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graft.code_version import code_of
from graft.features.keys import key_of
from graft.files import sha256, whole_folder, write_text

TENSORS, FACTS = "tensors.safetensors", "facts.json"
KEPT = 2
FINISHED = "finished"
# What decides the weights that come out, apart from data and settings.
ROOMS = ("augment", "features", "train", "zoo")
LIBRARIES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Snapshot:
    """Everything that a training needs to go on: numbers and names (JSON), and tensors by name."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with ``prefix`` and a dot, by the rest of their names."""
        start = f"{prefix}."
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The opposite of :meth:`Snapshot.part`."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


@dataclass
class Checkpoints:
    """The latest snapshots of one training, or its end, in a folder of its own.

    A disk that is full stops no training: it goes on without, and says so.

    Attributes:
        folder: made when the first snapshot is written.
        seconds: least time between two snapshots; 0: each one that is offered is written.
    """

    folder: Path
    seconds: float
    _last: float = field(default_factory=time.monotonic)

    def offer(self, make: Callable[[], Snapshot]) -> None:
        """Write what ``make`` gives, if it is time for it, and drop all but the two latest."""
        if time.monotonic() - self._last < self.seconds:
            return
        numbers = self._numbers()
        if self._write(f"{(numbers[-1] if numbers else 0) + 1:06d}", make()):
            for number in self._numbers()[:-KEPT]:
                shutil.rmtree(self.folder / f"{number:06d}", ignore_errors=True)
        self._last = time.monotonic()

    def latest(self) -> Snapshot | None:
        """The newest snapshot that is whole; None where there is none. Damaged ones go, and are said to be."""
        self._sweep()
        numbers = self._numbers()
        for number in reversed(numbers):
            path = self.folder / f"{number:06d}"
            snapshot = self._read(path)
            if snapshot is not None:
                print(f"going on from the checkpoint {path}", file=sys.stderr)
                return snapshot
            older = number != numbers[0]
            then = "going back to the one before it" if older else "none is left: the training starts anew"
            print(f"warning: the checkpoint {path} is damaged; {then}", file=sys.stderr)
            shutil.rmtree(path, ignore_errors=True)
        return None

    def finish(self, result: Snapshot) -> None:
        """Write the end of the training, and drop all snapshots."""
        if self._write(FINISHED, result):
            for number in self._numbers():
                shutil.rmtree(self.folder / f"{number:06d}", ignore_errors=True)

    def finished(self) -> Snapshot | None:
        """The end of the training, if it came to one."""
        path = self.folder / FINISHED
        result = self._read(path)
        if result is None and path.exists():
            print(f"warning: the finished training {path} is damaged; it is done again", file=sys.stderr)
            shutil.rmtree(path, ignore_errors=True)
        return result

    def _numbers(self) -> list[int]:
        return sorted(int(path.name) for path in self.folder.glob("[0-9]*") if path.name.isdigit())

    def _sweep(self) -> None:
        """What a killed process was writing."""
        for path in self.folder.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)

    def _write(self, name: str, snapshot: Snapshot) -> bool:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        try:
            with whole_folder(self.folder / name) as beside:
                tensors = {name: value.detach().cpu().contiguous() for name, value in snapshot.tensors.items()}
                save_file(tensors, beside / TENSORS)
                (beside / TENSORS).chmod(0o644)
                facts = json.dumps(snapshot.facts, allow_nan=False)
                digests = {"tensors": sha256(beside / TENSORS), "facts": _digest(facts)}
                write_text(beside / FACTS, json.dumps({"sha256": digests, "facts": facts}))
        except (OSError, SafetensorError) as error:
            # A safetensors error hides the one of the operating system.
            print(
                f"warning: no checkpoint could be written ({error}); the training goes on without, and starts from the "
                f"last one if it is ended\n  where: {self.folder}\n  remedy: make room there",
                file=sys.stderr,
            )
            return False
        return True

    def _read(self, path: Path) -> Snapshot | None:
        """None where it is missing or not what was written."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            whole = json.loads((path / FACTS).read_text(encoding="utf-8"))
            digests = {"tensors": sha256(path / TENSORS), "facts": _digest(whole["facts"])}
            if whole["sha256"] != digests:
                return None
            return Snapshot(json.loads(whole["facts"]), load_file(path / TENSORS))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
            return None


class Read(Checkpoints):
    """The same for a process that trains along with the one that writes them."""

    def offer(self, make: Callable[[], Snapshot]) -> None:
        """Nothing: the first process writes."""

    def finish(self, result: Snapshot) -> None:
        """Nothing: the first process writes."""

    def _sweep(self) -> None:
        """Nothing: what is being written now is the first process's."""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Keeper:
    """Where the checkpoints of several trainings lie, each under a key of everything that decides its result.

    Attributes:
        folder: of all of them; whoever made it clears it when the results are safe.
        seconds: see :class:`Checkpoints`.
        identity: what decides results and cannot be seen in a training's own parts, such as the augmentation's
            options.
        kind: what is done with them here.
    """

    folder: Path
    seconds: float
    identity: str = ""
    kind: type[Checkpoints] = Checkpoints

    def open(self, *parts: object) -> Checkpoints:
        """The checkpoints of the training that ``parts`` decide, whose texts have to be stable between processes."""
        key = key_of(self.identity, code_version(), torch.get_num_threads(), *map(str, parts))
        return self.kind(self.folder / key[:32], self.seconds)

    def clear(self) -> None:
        """Remove all."""
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def code_version() -> str:
    """A hash of the code that trains, and of the versions of the libraries under it."""
    return key_of(*code_of(f"{room}/**/*.py" for room in ROOMS), *(f"{name} {version(name)}" for name in LIBRARIES))
