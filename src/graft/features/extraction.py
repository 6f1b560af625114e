"""One forward pass per backbone and image: pooled features of every block, and activations at a freezing boundary.

A row must be the same to the last bit whatever other images are computed with it, or a warm cache would change
results. Kernels may depend on a batch's size and on how threads divide it. So batches have one size, the last one is
filled up with empty images, and on a CPU each batch is run by one thread, as many batches at once as there are threads:
that is as fast as dividing each among them, and often faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from graft.core.progress import track
from graft.features.cache import ArrayCache
from graft.features.keys import digest_of, key_of, row_keys, running_version
from graft.modalities.preprocessor import Inputs, Preprocessor
from graft.models.backbone import Backbone
from graft.models.batch import from_rows, to_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.features.cache import Put

    Rows = NDArray[Any]

# Pixels in a thread's batch, which has 4 images of 128 px or more, 16 of 64 px and 32 of 32 px. Larger ones do not fit
# into a processor's cache (EfficientNet-Lite0 at 224 px: 19 ms an image with 4, 51 ms with 64) and make a single new
# image dear; smaller ones leave the processor idle (ResNet-18 at 32 px: 1.2 ms with 32, 3.8 ms with 4).
_BATCH_PIXELS = 1 << 16
_BATCHES = (4, 32)
_GPU_BATCH = 64


@dataclass(frozen=True)
class Extractor:
    """Runs a network's frozen parts over images, and keeps what they give.

    Attributes:
        images: the samples as the preprocessing's loader reads them, (n, ...); of images uint8 (n, size, size, 3).
        images_key: what identifies each of them, see :meth:`graft.features.image_cache.ImageSet.key`; or one name for
            this very array, whose rows then go by their number.
        preprocessing: the network's own.
        store: where results are kept.
        device: what the network runs on.
    """

    images: NDArray[np.uint8]
    images_key: str | tuple[str, ...]
    preprocessing: Preprocessor
    store: ArrayCache
    device: torch.device

    def subset(self, rows: slice) -> Extractor:
        """The same for some of the images; what is kept of them serves all that have them."""
        assert not isinstance(self.images_key, str), "images that are known by their number stay together"
        return replace(self, images=self.images[rows], images_key=self.images_key[rows])

    def block_features(self, network: Backbone) -> list[NDArray[np.float32]]:
        """Pooled output of every block, float32 (n, channels) each; the last one is what the head receives."""

        def forward(batch: Inputs) -> Rows:
            return to_rows({str(number): depth for number, depth in enumerate(network.pooled(batch))})

        rows = self._kept("features", network.blocks_from(0), forward)
        # In one memory order, whether just computed or kept: kernels, and so the last bits, differ by the order.
        return [np.ascontiguousarray(rows[name]) for name in rows.dtype.names or ()]

    def activations(self, network: Backbone, stop: int, rows: NDArray[np.bool_]) -> Inputs:
        """What block ``stop`` receives for the images ``rows`` (bool, n), with everything before it in eval mode.

        For ``stop`` past the last block: the feature vector that the head receives, (rows, features).
        """
        if stop == 0:  # nothing runs before the first block, so there is nothing to keep
            return self.preprocessing.collate(self.images[rows])
        frozen = frozen_part(network, stop)
        return from_rows(self._kept("activations", frozen, lambda batch: to_rows(frozen(batch)))[rows])

    def _kept(self, kind: str, module: nn.Sequential, forward: Callable[[Inputs], Rows]) -> Rows:
        """A row of what ``forward`` gives for each image, (n, ...); ``module`` is all that it depends on."""
        where = (self.device.type, self._batch, running_version())
        table = key_of(kind, self.preprocessing.cache_key, digest_of(module), str(module), where)
        names = self.images_key
        keys = row_keys([f"{names}/{row}" for row in range(len(self.images))] if isinstance(names, str) else names)

        def compute(missing: NDArray[np.intp], put: Put) -> None:
            module.to(self.device).eval()
            self._run(forward, missing, put)

        return self.store.rows(kind, table, keys, compute)

    @property
    def _batch(self) -> int:
        """Samples in a batch: a power of two, and the same for all samples of one shape."""
        if self.device.type != "cpu":
            return _GPU_BATCH
        fitting: int = _BATCH_PIXELS // math.prod(self.images.shape[1:3])
        least, most = _BATCHES
        return min(most, max(least, 1 << max(0, fitting.bit_length() - 1)))

    def _run(self, forward: Callable[[Inputs], Rows], missing: NDArray[np.intp], put: Put) -> None:
        def one(places: NDArray[np.intp]) -> None:
            batch = np.zeros((self._batch, *self.images.shape[1:]), self.images.dtype)
            batch[: len(places)] = self.images[places]
            with torch.inference_mode():
                rows = forward(self.preprocessing.collate(batch, self.device))
            for number, place in enumerate(places.tolist()):
                put(place, rows[number : number + 1])

        parts = [missing[start : start + self._batch] for start in range(0, len(missing), self._batch)]
        shown = "running the backbone"
        if self.device.type != "cpu":
            for part in track(parts, shown):
                one(part)
            return
        for _ in track(_spread(one, parts), shown, total=len(parts)):
            pass


def _spread(work: Callable[[NDArray[np.intp]], None], parts: list[NDArray[np.intp]]) -> Iterable[None]:
    """Do the parts with as many threads as torch may use, each of them using no others."""
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(work, parts)
    finally:
        torch.set_num_threads(threads)  # this thread kept its own, but new ones would take the last that was set


def frozen_part(network: Backbone, stop: int) -> nn.Sequential:
    """Everything before unit ``stop``: blocks only, or past the last block the neck as well."""
    return network.blocks_before(stop) if stop < len(network.blocks) else network.blocks_from(0)
