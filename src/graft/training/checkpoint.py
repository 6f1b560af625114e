"""Checkpoints at the ends of epochs, by Lightning Fabric, from which a killed training goes on to the same bytes."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

import torch

from graft.core.code_version import code_of
from graft.features.keys import key_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Least seconds between two checkpoints: short epochs would spend their time on writing.
SECONDS = 30.0
# What decides the weights that come out, apart from data and settings.
PACKAGES = ("augmentation", "features", "training", "models")
LIBRARIES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "scikit-learn")


@dataclass
class Checkpoint:
    """The state of one training at the end of an epoch, in one file that is replaced as a whole.

    Attributes:
        path: of the file.
        seconds: least time between two checkpoints; the last epoch always has one.
    """

    path: Path
    seconds: float = SECONDS
    _saved: float = field(default_factory=time.monotonic)

    def save(self, fabric: Fabric, state: dict[str, Any], is_last: bool) -> None:
        """Write modules, optimizer and plain values, if it is time; all processes call it, and the first one writes.

        A full disk costs the checkpoint and not the training.
        """
        if not fabric.broadcast(is_last or time.monotonic() - self._saved >= self.seconds):
            return
        part = self.path.with_suffix(".part")
        try:
            if fabric.is_global_zero:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            fabric.save(part, {**state, "random": _random_states(fabric.device)})
            if fabric.is_global_zero:
                part.replace(self.path)
        except OSError as error:
            part.unlink(missing_ok=True)
            print(
                f"warning: no checkpoint could be written ({error}); the training goes on without, and starts from the "
                f"last one if it is ended\n  where: {self.path}\n  remedy: make room there",
                file=sys.stderr,
            )
            fabric.barrier()  # which Fabric did not come to, and the other processes wait at
        self._saved = time.monotonic()

    def load(self, fabric: Fabric, state: dict[str, Any]) -> None:
        """Restore what :meth:`save` was given, in place, and torch's random state; nothing where there is no file.

        A file that cannot be read is said to be damaged, and left alone until it is replaced.
        """
        if not self.path.exists():
            return
        if not _is_whole(self.path):
            print(f"warning: the checkpoint {self.path} is damaged: the training starts anew", file=sys.stderr)
            return
        saved = {**state, "random": {}}
        fabric.load(self.path, saved, weights_only=True)
        state.update({name: value for name, value in saved.items() if name != "random"})
        print(f"going on from the checkpoint {self.path}", file=sys.stderr)
        _set_random_states(saved["random"])


@dataclass(frozen=True)
class CheckpointStore:
    """Where the checkpoints of several trainings lie, each under a key of everything that decides its result.

    Attributes:
        folder: of all of them; whoever made it clears it when the results are safe.
        identity: what decides results and is no part of a training itself, such as the augmentation's options.
        seconds: see :class:`Checkpoint`.
    """

    folder: Path
    identity: str = ""
    seconds: float = SECONDS

    def open(self, parts: Iterable[object]) -> Checkpoint:
        """The checkpoint of the training that ``parts`` decide, whose texts are stable between processes."""
        key = key_of(self.identity, training_code_version(), torch.get_num_threads(), *map(str, parts))
        return Checkpoint(self.folder / f"{key[:32]}.ckpt", self.seconds)

    def clear(self) -> None:
        """Remove all."""
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def training_code_version() -> str:
    """A hash of the code that trains, and of the versions of the libraries under it."""
    return key_of(*code_of(f"{name}/**/*.py" for name in PACKAGES), *(f"{name} {version(name)}" for name in LIBRARIES))


def _is_whole(path: Path) -> bool:
    """Whether every part of a file of ``torch.save`` has its checksum."""
    try:
        with ZipFile(path) as file:
            return file.testzip() is None
    except (OSError, BadZipFile):
        return False


def _random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of torch's generators. No other is drawn from: augmentation has a seed for every image."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_states(states: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])
