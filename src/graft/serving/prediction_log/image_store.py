"""Sent images, kept in a folder up to a size, where GRAFT_KEEP_IMAGES asks for it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from graft.core.errors import GraftError
from graft.modalities.image.signatures import suffix_of

# Scanning the folder is slow: it is done once for each twentieth of the limit, and makes room for as much.
_SHARE = 20
_MARK = ".kept."
_KEPT = re.compile(rf"[0-9a-f]{{32}}{re.escape(_MARK)}[a-z]+")


@dataclass
class ImageStore:
    """Files ``<prediction id>.kept.<kind>``. Only files named so are counted or deleted; the folder may hold others.

    Attributes:
        folder: made with the first image; readable by its owner alone.
        limit: bytes that are kept; the oldest images are deleted.
    """

    folder: Path
    limit: int
    _since: int = -1  # bytes written since the folder was scanned; below 0 before the first scan

    def keep(self, answer: str, image: bytes) -> None:
        """Write one image.

        Raises:
            GraftError: it cannot be written.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._since < 0 or self._since + len(image) > self.limit // _SHARE:
                self._make_room(len(image))
                self._since = 0
            self._since += len(image)
            path = self.folder / f"{answer}{_MARK}{suffix_of(image)}"
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(image)
        except OSError as error:
            raise GraftError(
                f"images cannot be kept: {error.strerror or error}",
                where=self.folder,
                remedy="make room or mend its permissions, or unset GRAFT_KEEP_IMAGES",
            ) from None

    def _make_room(self, coming: int) -> None:
        """Delete the oldest until what will be written before the next scan fits as well."""
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if _KEPT.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    stat = entry.stat(follow_symlinks=False)
                    found.append((stat.st_mtime, entry.path, stat.st_size))
        over = sum(size for _, _, size in found) + max(coming, self.limit // _SHARE) - self.limit
        for _, path, size in sorted(found):
            if over <= 0:
                break
            # Another worker may have deleted it.
            Path(path).unlink(missing_ok=True)
            over -= size
