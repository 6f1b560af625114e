"""torch.compile: a network turned into kernels of its own, where there is a compiler and it can be done."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from graft.errors import ConfigError
from graft.train.precision import Mode


def compiler() -> str:
    """The C++ compiler that torch calls: what the variable ``CXX`` names, else the system's usual one."""
    return os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")


def require_compiler() -> None:
    """Refuse to compile where nothing can.

    Raises:
        ConfigError: there is no C++ compiler.
    """
    name = compiler()
    if shutil.which(name) is None:
        raise ConfigError(
            f"networks are to be compiled, and there is no C++ compiler {name!r} here",
            where="compute.compile",
            remedy="install it, name another one in the variable CXX, or set compute.compile: false",
        )


def as_run(module: nn.Module, mode: Mode | None) -> Any:
    """``module`` as the mode runs it: compiled when it is first called, or as it is. Its weights are shared."""
    return torch.compile(module) if mode is not None and mode.compiled else module


def run_once(step: Callable[[], None], mode: Mode) -> bool:
    """Do a step, for which kernels may have to be made first; False, with a warning, where that cannot be done."""
    if not mode.compiled:
        step()
        return True
    try:
        step()
    except RuntimeError as error:
        # All of what dynamo and its compilers raise are RuntimeErrors; the first line says which part failed.
        said = str(error).strip().splitlines() or [type(error).__name__]
        print(f"warning: torch.compile cannot do this network, which is trained without: {said[0]}", file=sys.stderr)
        return False
    return True
