"""Batches as networks pass them on: a tensor (n, ...), or a mapping of tensors (n, ...), such as tokens and a mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from graft.modalities.preprocessor import Inputs

if TYPE_CHECKING:
    from numpy.typing import NDArray


def map_tensors(work: Callable[[Tensor], Tensor], batch: Inputs) -> Inputs:
    """``work`` on every tensor."""
    return work(batch) if isinstance(batch, Tensor) else {name: work(value) for name, value in batch.items()}


def tensors_of(batch: Inputs) -> list[Tensor]:
    """The tensor itself, or the mapping's."""
    return [batch] if isinstance(batch, Tensor) else list(batch.values())


def split(batch: Inputs, size: int) -> list[Inputs]:
    """In parts of ``size`` samples."""
    if isinstance(batch, Tensor):
        return list(torch.split(batch, size))
    parts = zip(*(torch.split(value, size) for value in batch.values()), strict=True)
    return [dict(zip(batch, part, strict=True)) for part in parts]


def concatenate(parts: Sequence[Inputs]) -> Inputs:
    """Batches one after the other; all of one kind."""
    if isinstance(parts[0], Tensor):
        return torch.cat([tensors_of(part)[0] for part in parts])
    return {name: torch.cat([part[name] for part in parts if isinstance(part, Mapping)]) for name in parts[0]}


def to_rows(batch: Inputs) -> NDArray[Any]:
    """A row for each sample, on the CPU: (n, ...), or (n,) with a field for each tensor of a mapping."""
    if isinstance(batch, Tensor):
        return np.ascontiguousarray(_array(batch))
    columns = {name: _array(value) for name, value in batch.items()}
    kind = np.dtype([(name, column.dtype, column.shape[1:]) for name, column in columns.items()])
    rows = np.empty(len(tensors_of(batch)[0]), kind)
    for name, column in columns.items():
        rows[name] = column
    return rows


def from_rows(rows: NDArray[Any]) -> Inputs:
    """Inverse of :func:`to_rows`; C-contiguous, because the memory order changes the last bits of results."""
    if rows.dtype.names is None:
        return torch.from_numpy(rows)
    return {name: torch.from_numpy(np.ascontiguousarray(rows[name])) for name in rows.dtype.names}


def _array(tensor: Tensor) -> NDArray[Any]:
    """Floats in 32 bits; masks and tokens as they are."""
    return (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
