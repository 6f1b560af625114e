"""What things are kept under: hashes of content, so that the same inputs give the same key and others another."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from graft.core.code_version import code_of, decoders

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

KEY_BYTES = 32
# The code that says what a loaded sample is, and the code that says what a network makes of it.
_DECODING = (
    "features/image_cache.py",
    "modalities/*/decode.py",
    "modalities/*/colour.py",
    "modalities/*/preprocessing.py",
)
_RUNNING = ("features/extraction.py", "models/**/*.py")


def key_of(*parts: object) -> str:
    """A key of 64 hexadecimal digits for the given JSON-able parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def row_keys(names: Iterable[str]) -> NDArray[np.uint8]:
    """What identifies each row: the SHA-256 of its name, uint8 (n, 32)."""
    joined = b"".join(hashlib.sha256(name.encode()).digest() for name in names)
    return np.frombuffer(joined, np.uint8).reshape(-1, KEY_BYTES)


def digest_of(module: nn.Module) -> str:
    """A hash of a module's parameters and buffers, names and values."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        array = value.detach().cpu().contiguous().numpy()
        digest.update(array.reshape(-1).view(np.uint8))  # its memory as it lies: a copy would cost as much again
    return digest.hexdigest()


@cache
def decoding_version() -> str:
    """Changes with whatever could change a decoded pixel: the code that decodes, Pillow and its decoders."""
    return key_of(decoders(), *code_of(_DECODING))


@cache
def running_version() -> str:
    """Changes with whatever could change a feature's last bit: code, libraries, and the processor's instructions."""
    import torch

    libraries = [importlib.metadata.version(name) for name in ("torch", "torchvision", "timm")]
    return key_of(libraries, torch.backends.cpu.get_cpu_capability(), *code_of(_RUNNING))
