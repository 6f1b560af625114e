"""A cache of arrays by content: the same inputs give the same key, and a key's file is read instead of computed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.files import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    Arrays = Mapping[str, NDArray[np.generic]]

# Raise it whenever the meaning of what is kept changes; older files are then never read again.
VERSION = 2


def key_of(*parts: object) -> str:
    """A key of 64 hexadecimal digits for the given JSON-able parts."""
    return hashlib.sha256(json.dumps([VERSION, *parts], sort_keys=True, default=str).encode()).hexdigest()


def digest_of(module: nn.Module) -> str:
    """A hash of a module's parameters and buffers, names and values."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Store:
    """A folder of safetensors files, one per key. It may be deleted at any time."""

    folder: Path

    def get(self, kind: str, key: str, compute: Callable[[], Arrays]) -> dict[str, NDArray[np.generic]]:
        """The arrays kept under ``key``, or computed and kept. A file that cannot be read is computed again."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file, save_file

        path = self.folder / kind / f"{key}.safetensors"
        if path.exists():
            try:
                kept: dict[str, NDArray[np.generic]] = load_file(path)
            except (SafetensorError, OSError):
                path.unlink(missing_ok=True)
            else:
                return kept
        # In one memory order, as a file gives them back: kernels, and so the last bits, differ by the order.
        computed = {name: np.ascontiguousarray(value) for name, value in compute().items()}
        with whole_file(path) as beside:
            save_file(computed, beside)
        return computed
