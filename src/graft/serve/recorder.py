"""Writes down what was answered, beside the answering: a full disk or a slow one delays no answer and breaks none."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from graft.errors import GraftError
from graft.journal import Answered, Journal
from graft.serve.kept import KeptImages

_WAITING = 2000  # answers that may wait to be written
_WAITING_BYTES = 64 << 20  # and bytes of images
_TOGETHER = 500  # answers that are written at once
_PAUSE_SECONDS = 0.2  # between two writings, so that they are few
_log = logging.getLogger("graft.journal")


@dataclass(frozen=True)
class Entry:
    """One answer, and the image where images are kept."""

    answer: Answered
    image: bytes | None = None


@dataclass
class Recorder:
    """A thread that writes into the journal, and what waits for it.

    Attributes:
        journal: None where nothing is written down.
        images: None where no image is kept.
        lose: called with how many answers were lost, each time some were.
    """

    journal: Journal | None
    images: KeptImages | None = None
    lose: Callable[[int], object] = lambda count: None
    _waiting: queue.Queue[Entry | None] = field(default_factory=lambda: queue.Queue(_WAITING))
    _bytes: int = 0
    _names: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _broken: bool = False
    _thread: threading.Thread | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything is written down."""
        return self._thread is not None

    def start(self) -> None:
        """Begin to write."""
        if self.journal is not None or self.images is not None:
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()

    def add(self, answer: Answered, image: bytes) -> None:
        """Hand an answer over; never waits. Where too many wait already it is lost, and counted."""
        if self._thread is None:
            return
        kept = image if self.images is not None else None
        if kept is not None and self._bytes + len(kept) > _WAITING_BYTES:
            kept = None
        with self._lock:  # before it is handed over: it may be written at once
            self._names.add(answer.id)
        try:
            self._waiting.put_nowait(Entry(answer, kept))
        except queue.Full:
            self._forget(answer.id)
            self.lose(1)
            return
        self._hold(len(kept or b""))

    def is_waiting(self, answer: str) -> bool:
        """Whether the answer of this id is still to be written."""
        with self._lock:
            return answer in self._names

    def flush(self, seconds: float) -> None:
        """Wait until all that was handed over is written, for so many seconds at most."""
        until = time.monotonic() + seconds
        while self._waiting.unfinished_tasks and time.monotonic() < until:
            time.sleep(0.01)

    def close(self, seconds: float = 10.0) -> None:
        """Write what waits, for so many seconds at most, and end."""
        if self._thread is not None:
            self.flush(seconds)
            try:
                self._waiting.put_nowait(None)
            except queue.Full:
                return  # it hangs on a dead disk, and ends with the process
            self._thread.join(seconds)
            self._thread = None

    def _hold(self, count: int) -> None:
        with self._lock:
            self._bytes += count

    def _forget(self, answer: str) -> None:
        with self._lock:
            self._names.discard(answer)

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            entries = [first]
            is_last = False
            while len(entries) < _TOGETHER and not is_last:
                try:
                    following = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    is_last = True
                else:
                    entries.append(following)
            self._write(entries)
            for entry in entries:
                self._forget(entry.answer.id)
                self._hold(-len(entry.image or b""))
                self._waiting.task_done()
            if is_last:
                break
            time.sleep(_PAUSE_SECONDS)

    def _write(self, entries: list[Entry]) -> None:
        try:
            if self.journal is not None:
                self.journal.add([entry.answer for entry in entries])
            if self.images is not None:
                for entry in entries:
                    if entry.image is not None:
                        self.images.keep(entry.answer.id, entry.image)
        except GraftError as error:
            self._say_broken(error, len(entries))
        except Exception as error:  # the thread must outlive whatever a disk comes up with
            self._say_broken(GraftError(f"unexpected {type(error).__name__}: {error}"), len(entries))
        else:
            if self._broken:
                self._broken = False
                _log.warning("answers are written down again")

    def _say_broken(self, error: GraftError, count: int) -> None:
        """Once, not for every answer that is lost: a log on the same full disk would not get better by it."""
        self.lose(count)
        if not self._broken:
            self._broken = True
            _log.error("answers are given but not written down: %s", error.message())
