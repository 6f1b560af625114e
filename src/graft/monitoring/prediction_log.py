"""What the service said, and what people answered: one SQLite file that the service writes and monitoring reads.

No image is in it. It is bounded: the oldest answers go when there are more than ``limit``.
"""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.errors import GraftError

if TYPE_CHECKING:
    import pandas as pd

LIMIT = 100_000  # answers that are kept
# Finding the oldest takes 12 ms where there are 100,000: only after so many more have come, as a part of the limit.
_SLACK = 100
_WAIT_SECONDS = 30.0  # how long one process waits for another that writes
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    id TEXT PRIMARY KEY, at REAL NOT NULL, model TEXT NOT NULL, label TEXT NOT NULL, confidence REAL NOT NULL,
    unsure INTEGER NOT NULL, novelty REAL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    brightness REAL NOT NULL, contrast REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_at ON answers (at);
CREATE TABLE IF NOT EXISTS feedback (id TEXT PRIMARY KEY, at REAL NOT NULL, label TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Answered:
    """One answer of the service.

    Attributes:
        id: what the sender was told it is called; feedback names it.
        at: when, in seconds since 1970 (UTC).
        model: version of the model that answered.
        label: what it said.
        confidence: the label's calibrated probability.
        unsure: whether it was marked `not sure`.
        novelty: how unlike the training images the image was, over 1 unlike; None where the model cannot tell.
        width: of the image, in pixels.
        height: of the image, in pixels.
        brightness: mean of the image as the model saw it, 0 to 1.
        contrast: standard deviation of its brightness, 0 to 0.5.
    """

    id: str
    at: float
    model: str
    label: str
    confidence: float
    unsure: bool
    novelty: float | None
    width: int
    height: int
    brightness: float
    contrast: float


COLUMNS = tuple(field.name for field in dataclasses.fields(Answered))


@dataclass(frozen=True)
class Journal:
    """The file ``path``, made when something is first written; several processes may write at once.

    Attributes:
        path: the SQLite file.
        limit: answers that are kept, and for a while up to a hundredth more.
    """

    path: Path
    limit: int = LIMIT

    def add(self, answers: Sequence[Answered]) -> None:
        """Write answers, and let the oldest go where there are too many, with their feedback.

        Raises:
            GraftError: the file cannot be written.
        """
        rows = [dataclasses.astuple(answer) for answer in answers]
        with self._open() as database:
            database.executemany(f"INSERT OR REPLACE INTO answers VALUES ({', '.join('?' * len(COLUMNS))})", rows)
            # No more rows than this: an answer that is written again leaves a gap.
            (most,) = database.execute("SELECT coalesce(max(rowid) - min(rowid) + 1, 0) FROM answers").fetchone()
            if most <= self.limit + self.limit // _SLACK:
                return
            kept = "SELECT id FROM answers ORDER BY at DESC, rowid DESC LIMIT -1 OFFSET ?"
            database.execute(f"DELETE FROM feedback WHERE id IN ({kept})", (self.limit,))
            database.execute(f"DELETE FROM answers WHERE id IN ({kept})", (self.limit,))

    def correct(self, answer: str, label: str, at: float) -> bool:
        """Write down the right ``label`` of an answer (a later one replaces it); False where there is no such answer.

        Raises:
            GraftError: the file cannot be written.
        """
        with self._open() as database:
            if database.execute("SELECT 1 FROM answers WHERE id = ?", (answer,)).fetchone() is None:
                return False
            database.execute("INSERT OR REPLACE INTO feedback VALUES (?, ?, ?)", (answer, at, label))
            return True

    def read(self, since: float = 0.0) -> pd.DataFrame:
        """The answers from ``since`` (seconds since 1970) on, oldest first, with ``truth`` where people gave one.

        Raises:
            GraftError: the file cannot be read.
        """
        import pandas as pd

        columns = [*COLUMNS, "truth"]
        if not self.path.exists():
            return pd.DataFrame(columns=columns)
        named = ", ".join(f"answers.{name}" for name in COLUMNS)
        with self._open() as database:
            rows = database.execute(
                f"SELECT {named}, feedback.label FROM answers LEFT JOIN feedback ON feedback.id = answers.id "
                "WHERE answers.at >= ? ORDER BY answers.at, answers.rowid",
                (since,),
            ).fetchall()
        return pd.DataFrame(rows, columns=columns)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The file, in one transaction."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=_WAIT_SECONDS)) as database:
                _let_read_while_written(database)
                # A crash of the machine may cost the last answers, and never the file; every commit would wait for it.
                database.execute("PRAGMA synchronous = NORMAL")
                database.executescript(_SCHEMA)
                with database:
                    yield database
        except (OSError, sqlite3.Error) as error:
            raise GraftError(
                f"the journal of answers cannot be used: {error}",
                where=self.path,
                remedy="make room or mend its permissions; a damaged journal may be deleted",
            ) from None


def _let_read_while_written(database: sqlite3.Connection) -> None:
    """Have readers and a writer not wait for one another; the file remembers it from the first time on.

    Of two who do that to a new file at the same moment SQLite refuses one at once, however long it was told to wait.
    """
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
