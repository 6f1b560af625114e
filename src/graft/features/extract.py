"""One forward pass per backbone and image: pooled features of every block, and activations at a freezing boundary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from graft.features.store import Store, digest_of, key_of
from graft.progress import track
from graft.zoo.network import Network
from graft.zoo.preprocessing import Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 64


@dataclass(frozen=True)
class Extractor:
    """Runs a network's frozen parts over images, and keeps what they give.

    Attributes:
        images: uint8 (n, size, size, 3).
        images_key: what identifies them, see :meth:`graft.features.images.ImageSet.key`.
        preprocessing: the network's own.
        store: where results are kept.
        device: what the network runs on.
    """

    images: NDArray[np.uint8]
    images_key: str
    preprocessing: Preprocessing
    store: Store
    device: torch.device

    def every_depth(self, network: Network) -> list[NDArray[np.float32]]:
        """Pooled output of every block, float32 (n, channels) each; the last one is what the head receives."""

        def compute() -> dict[str, NDArray[np.generic]]:
            network.eval()
            batches = self._run(lambda batch: list(network.pooled(batch)), network)
            return {str(depth): np.concatenate(rows) for depth, rows in enumerate(zip(*batches, strict=True))}

        kept = self.store.get("features", self._key(network, "pooled"), compute)
        return [kept[str(depth)].astype(np.float32, copy=False) for depth in range(len(kept))]

    def activations(self, network: Network, stop: int, rows: NDArray[np.bool_]) -> Tensor:
        """What block ``stop`` receives for the images ``rows`` (bool, n), with everything before it in eval mode.

        For ``stop`` past the last block: the feature vector that the head receives, (rows, features).
        """
        if stop == 0:  # nothing runs before the first block, so there is nothing to keep
            return self.preprocessing.normalise(torch.from_numpy(self.images[rows]))
        frozen = frozen_part(network, stop)

        def compute() -> dict[str, NDArray[np.generic]]:
            frozen.eval()
            batches = self._run(lambda batch: [frozen(batch)], network)
            return {"x": np.concatenate([rows[0] for rows in batches])}

        kept = self.store.get("activations", self._key(frozen, stop), compute)
        return torch.from_numpy(kept["x"][rows])

    def _key(self, module: nn.Module, *what: object) -> str:
        return key_of(self.images_key, str(self.preprocessing), digest_of(module), str(module), *what)

    def _run(
        self, forward: Callable[[Tensor], Iterable[Tensor]], network: Network
    ) -> Iterator[list[NDArray[np.generic]]]:
        network.to(self.device)
        starts = range(0, len(self.images), BATCH)
        with torch.no_grad():
            for start in track(starts, "running the backbone", total=len(starts)):
                batch = torch.from_numpy(self.images[start : start + BATCH]).to(self.device)
                yield [part.float().cpu().numpy() for part in forward(self.preprocessing.normalise(batch))]


def frozen_part(network: Network, stop: int) -> nn.Sequential:
    """Everything before unit ``stop``: blocks only, or past the last block the neck as well."""
    return network.trunk(stop) if stop < len(network.blocks) else network.tail(0)
