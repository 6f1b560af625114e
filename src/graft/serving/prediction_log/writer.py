"""Background writer of the prediction log: a slow or full disk delays no response and fails none."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from graft.core.errors import GraftError
from graft.monitoring.prediction_log import PredictionLog, PredictionRecord
from graft.serving.prediction_log.image_store import ImageStore

_CAPACITY = 2000  # predictions that may wait to be written
_CAPACITY_BYTES = 64 << 20  # and bytes of images
_BATCH = 500  # predictions in one transaction
_PAUSE_SECONDS = 0.2  # between two transactions
_log = logging.getLogger("graft.monitoring.prediction_log")


@dataclass(frozen=True)
class Entry:
    """A prediction, and its image where images are kept."""

    record: PredictionRecord
    image: bytes | None = None


@dataclass
class PredictionLogWriter:
    """A thread that writes the prediction log, fed by a bounded queue.

    Attributes:
        log: the prediction log; None where nothing is written.
        images: None where no image is kept.
        on_lost: called with the number of predictions that could not be written.
    """

    log: PredictionLog | None
    images: ImageStore | None = None
    on_lost: Callable[[int], object] = lambda count: None
    _queue: queue.Queue[Entry | None] = field(default_factory=lambda: queue.Queue(_CAPACITY))
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_failing: bool = False
    _thread: threading.Thread | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything is written down."""
        return self._thread is not None

    def start(self) -> None:
        """Start the writing thread, if there is anything to write."""
        if self.log is not None or self.images is not None:
            self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
            self._thread.start()

    def add(self, record: PredictionRecord, image: bytes) -> None:
        """Queue a prediction without waiting; where the queue is full it is lost, and counted."""
        if self._thread is None:
            return
        kept = image if self.images is not None and self._bytes + len(image) <= _CAPACITY_BYTES else None
        try:
            self._queue.put_nowait(Entry(record, kept))
        except queue.Full:
            self.on_lost(1)
        else:
            self._hold(len(kept or b""))

    def flush(self, seconds: float) -> None:
        """Wait until all queued predictions are written, at most so many seconds."""
        until = time.monotonic() + seconds
        while self._queue.unfinished_tasks and time.monotonic() < until:
            time.sleep(0.01)

    def close(self, seconds: float = 10.0) -> None:
        """Write what is queued, within so many seconds, and stop the thread."""
        if self._thread is None:
            return
        self.flush(seconds)
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return  # the disk hangs; the thread is a daemon
        self._thread.join(seconds)
        self._thread = None

    def _hold(self, count: int) -> None:
        with self._lock:
            self._bytes += count

    def _run(self) -> None:
        is_open = True
        while is_open:
            items = [self._queue.get()]
            while items[-1] is not None and len(items) < _BATCH and not self._queue.empty():
                items.append(self._queue.get_nowait())
            is_open = items[-1] is not None
            entries = [item for item in items if item is not None]
            self._write(entries)
            self._hold(-sum(len(entry.image or b"") for entry in entries))
            for _ in items:
                self._queue.task_done()
            if is_open:
                time.sleep(_PAUSE_SECONDS)

    def _write(self, entries: list[Entry]) -> None:
        try:
            if self.log is not None and entries:
                self.log.add([entry.record for entry in entries])
            for entry in entries:
                if self.images is not None and entry.image is not None:
                    self.images.keep(entry.record.id, entry.image)
        except Exception as error:  # the thread must survive whatever a disk does
            self._report(error, len(entries))
        else:
            if self._is_failing:
                self._is_failing = False
                _log.warning("predictions are logged again")

    def _report(self, error: Exception, count: int) -> None:
        """Log the first failure of a row; a log on the same full disk would not get better by more."""
        self.on_lost(count)
        if not self._is_failing:
            self._is_failing = True
            known = (
                error if isinstance(error, GraftError) else GraftError(f"unexpected {type(error).__name__}: {error}")
            )
            _log.error("predictions are answered but not logged: %s", known.message())
