"""Hot reload: a promoted model replaces the loaded one without a restart.

Each worker polls the production model's folder, as signals would have to find all workers, and BentoML's own restart
drops what waits. A new model is loaded beside the old one, checked and run; a request keeps the one it started with.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from graft.calibration.novelty import REFERENCE_FILE
from graft.core.errors import GraftError
from graft.inference.artifact import ARTIFACT_FILE, WEIGHTS_FILE
from graft.inference.package import ONNX_FILE, PACKAGE_FILE
from graft.serving.model.bundle import ModelBundle

POLL_SECONDS = 0.5
_FILES = (ARTIFACT_FILE, WEIGHTS_FILE, PACKAGE_FILE, ONNX_FILE, REFERENCE_FILE)
_log = logging.getLogger("graft.model")

Signature = tuple[Path, tuple[tuple[int, int, int] | None, ...]]


class LiveModel:
    """The loaded model, and a watch for another.

    Args:
        find: returns the production model's folder; called at every poll, as a first promotion makes another folder.
        load: folder -> a loaded model.

    Raises:
        GraftError: there is no model, or it is refused.
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
        """Poll in a thread of its own until :meth:`stop`."""

        def run() -> None:
            while not self._ended.wait(seconds):
                self.poll()

        Thread(target=run, name="model-watch", daemon=True).start()

    def stop(self) -> None:
        """Stop polling; the current model stays."""
        self._ended.set()

    def poll(self) -> bool:
        """Load the production model if it changed; whether it was taken.

        A folder counts once it was the same at two polls, as it may be being written, and only if it did not change
        while it was loaded. A refused model is not tried again until it changes.
        """
        try:
            found = signature(self._find())
        except (GraftError, OSError):
            return False  # being replaced, or gone; the loaded model does not need it
        settled, self._seen = found == self._seen, found
        if found == self._known or not settled or found[1][0] is None:
            return False
        try:
            loaded = self._load(found[0])
            if signature(self._find()) != found:
                return False
        except GraftError as error:
            _log.warning("the production model is refused, and the one before stays: %s", error.message())
        except Exception:
            _log.exception("the production model cannot be loaded, and the one before stays")
        else:
            before, self.current = self.current.identity, loaded
            self._known = found
            new = loaded.identity
            _log.info("now serving %s:%s, before %s:%s", new.name, new.version, before.name, before.version)
            return True
        self._known = found
        return False


def signature(folder: Path) -> Signature:
    """Inode, size and time of each file of a model."""
    return folder, tuple(_of_file(folder / name) for name in _FILES)


def _of_file(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
