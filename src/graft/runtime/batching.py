"""Adaptive batching: images of requests that wait while the engine is busy are run together when it is free.

Nobody waits for others to come: a lone request is run at once. The batch grows with the load by itself, because what
arrives during one run makes up the next. BentoML's own batching works on its HTTP endpoints, and would carry each image
through a second request; this is a door inside the process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.runtime.engines import Engine

    Result = tuple[NDArray[np.floating], NDArray[np.floating]]


@dataclass(eq=False)
class _Waiting:
    images: NDArray[np.uint8]
    result: Result | None = None
    error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.result is not None or self.error is not None


class BatchingEngine:
    """An engine that gathers the images of several callers for another engine.

    The callers' own threads do the work: whoever finds the engine free runs all that waits, up to ``most`` images.

    Args:
        engine: what runs the batches.
        most: images of one run; a caller's images are never divided, so that more may come from one caller.
        observe: told of the size of every batch.
    """

    def __init__(self, engine: Engine, most: int, observe: Callable[[int], None] = lambda _: None) -> None:
        self.engine = engine
        self.most = most
        self._observe = observe
        self._changed = Condition()
        self._queue: deque[_Waiting] = deque()
        self._is_busy = False

    def run(self, images: NDArray[np.uint8]) -> Result:
        """See :class:`graft.runtime.engines.Engine`; what fails fails for all callers of the batch."""
        mine = _Waiting(images)
        with self._changed:
            self._queue.append(mine)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: mine.is_done or not self._is_busy)
                if mine.is_done:
                    break
                batch = self._take()
                self._is_busy = True
            try:
                self._run(batch)
            finally:
                with self._changed:
                    self._is_busy = False
                    self._changed.notify_all()
        if mine.error is not None:
            raise mine.error
        assert mine.result is not None, "it is done, and nothing failed"
        return mine.result

    def _take(self) -> list[_Waiting]:
        """From the front of the queue as many as fit, at least one."""
        taken = [self._queue.popleft()]
        count = len(taken[0].images)
        while self._queue and count + len(self._queue[0].images) <= self.most:
            taken.append(self._queue.popleft())
            count += len(taken[-1].images)
        return taken

    def _run(self, batch: list[_Waiting]) -> None:
        """Run a batch and hand out what belongs to whom."""
        try:
            images = batch[0].images if len(batch) == 1 else np.concatenate([one.images for one in batch])
            self._observe(len(images))
            logits, features = self.engine.run(images)
        except Exception as error:
            for one in batch:
                one.error = error
            return
        start = 0
        for one in batch:
            stop = start + len(one.images)
            one.result = logits[start:stop], features[start:stop]
            start = stop
