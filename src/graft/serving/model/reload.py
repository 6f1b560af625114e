"""The model that answers now: another one that was promoted takes its place while requests go on.

A promotion or a rollback replaces the folder of the model in use. Every worker looks at that folder twice a second by
itself: signals would have to find all workers, and BentoML's own restart drops what waits. What is found is loaded
beside the old model, checked and run before it answers anybody; a request keeps the model that it began with.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from graft.calibration.novelty import REFERENCE_FILE
from graft.core.errors import GraftError
from graft.inference.artifact import CARD_FILE, WEIGHTS_FILE
from graft.inference.package import ONNX_FILE, PACKAGE_FILE
from graft.serving.model.bundle import ModelBundle

POLL_SECONDS = 0.5
_FILES = (CARD_FILE, WEIGHTS_FILE, PACKAGE_FILE, ONNX_FILE, REFERENCE_FILE)
_log = logging.getLogger("graft.model")

Signature = tuple[Path, tuple[tuple[int, int, int] | None, ...]]


class LiveModel:
    """Holds the model that answers, and looks for another.

    Args:
        find: where the model in use lies; asked again at every look, because a first promotion makes another folder.
        load: folder -> a model that is ready.

    Raises:
        GraftError: there is no model to begin with, or it is refused.
    """

    def __init__(self, find: Callable[[], Path], load: Callable[[Path], ModelBundle]) -> None:
        self._find = find
        self._load = load
        self._known = signature(find())
        self.current = load(self._known[0])
        _log.info("serving %s:%s", self.current.identity.name, self.current.identity.version)
        self._seen = self._known
        self._ended = Event()

    def watch(self, seconds: float = POLL_SECONDS) -> None:
        """Look for another model every so often, in a thread of its own, until :meth:`stop`."""

        def look() -> None:
            while not self._ended.wait(seconds):
                self.look()

        Thread(target=look, name="model-watch", daemon=True).start()

    def stop(self) -> None:
        """Look no more; the current model goes on answering."""
        self._ended.set()

    def look(self) -> bool:
        """Take the model in use if it is another one, whole and good; say whether it was taken.

        A folder is looked at only when it was the same at two looks, so that one that is being written is left alone,
        and taken only if it did not change while it was loaded. What was refused is not tried again until it changes.
        """
        try:
            found = signature(self._find())
        except (GraftError, OSError):
            return False  # being replaced just now, or gone: the model in memory does not need it
        settled, self._seen = found == self._seen, found
        if found == self._known or not settled or found[1][0] is None:
            return False
        try:
            loaded = self._load(found[0])
            if signature(self._find()) != found:
                return False
        except GraftError as error:
            _log.warning("the model in use is refused, and the one before goes on answering: %s", error.message())
        except Exception:
            _log.exception("the model in use cannot be loaded, and the one before goes on answering")
        else:
            before, self.current = self.current.identity, loaded
            self._known = found
            new = loaded.identity
            _log.info("now serving %s:%s, before %s:%s", new.name, new.version, before.name, before.version)
            return True
        self._known = found
        return False


def signature(folder: Path) -> Signature:
    """What changes when any file of a model does, without reading it: which file it is, its size and time."""
    return folder, tuple(_of_file(folder / name) for name in _FILES)


def _of_file(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
