"""How much memory a forward pass needs at once, counted and not sampled: the same network always needs the same.

The resident size of a process says more about its allocator, and about what ran before, than about a network.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from graft.models.batch import map_tensors

if TYPE_CHECKING:
    from graft.modalities.preprocessor import Inputs
    from graft.models.backbone import Network

MEGABYTE = 1_000_000


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operations have made and that are still in use; ``peak`` is the most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, then count what it has made. Views share their tensor's storage and count once."""
        result = func(*args, **(kwargs or {}))
        for item in tree_leaves(result):
            if isinstance(item, torch.Tensor):
                self.count(item)
        return result

    def count(self, tensor: torch.Tensor) -> None:
        """Count a tensor's storage until it is freed; a storage that is known counts no more."""
        storage = tensor.untyped_storage()
        number, size = storage._cdata, storage.nbytes()
        if number in self._known:
            return
        self._known.add(number)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, number, size)

    def _forget(self, number: int, size: int) -> None:
        self._known.discard(number)
        self.live -= size


def peak_memory_mb(network: Network, sample: Inputs) -> float:
    """Megabytes (1,000,000 bytes) that a batch of one sample needs at most: parameters, buffers, activations.

    What a kernel needs for itself while it works, the program and its libraries are not in it.
    """
    network.eval()
    kept = {tensor.untyped_storage()._cdata: tensor for tensor in (*network.parameters(), *network.buffers())}
    with torch.no_grad(), LiveBytes() as counter:
        for tensor in kept.values():
            counter.count(tensor.detach())
        network(map_tensors(torch.Tensor.clone, sample))  # made here, so that it counts
    return int(counter.peak) / MEGABYTE
