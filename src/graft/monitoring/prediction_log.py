"""The prediction log: one SQLite file that the service writes and monitoring reads, with the labels people give.

It holds no image, and at most ``limit`` predictions; the oldest are deleted.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.errors import GraftError

if TYPE_CHECKING:
    import pandas as pd

LIMIT = 100_000  # predictions that are kept
# Finding the oldest of 100,000 takes 12 ms: only when this share of the limit has been added since.
_SLACK = 100
_TIMEOUT_SECONDS = 30.0  # for another process that writes
_SCHEMA = """
CREATE TABLE IF NOT EXISTS predictions (
    id TEXT PRIMARY KEY, at REAL NOT NULL, model TEXT NOT NULL, label TEXT, confidence REAL,
    unsure INTEGER, novelty REAL, stats TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS predictions_at ON predictions (at);
CREATE TABLE IF NOT EXISTS feedback (id TEXT PRIMARY KEY, at REAL NOT NULL, label TEXT NOT NULL);
"""


@dataclass(frozen=True)
class PredictionRecord:
    """One prediction of the service.

    Attributes:
        id: its id in the response, which feedback names.
        at: when, in seconds since 1970 (UTC).
        model: version of the model.
        label: the predicted class; None where the task has no classes, and so are the next two.
        confidence: its calibrated probability.
        unsure: whether the confidence is under the model's threshold.
        novelty: how unlike the training samples it is, over 1 unlike; None where the model has no novelty detection.
        stats: statistics of the sample that the modality names, as in the manifest: for an image ``width``,
            ``height``, ``brightness`` and ``contrast``.
    """

    id: str
    at: float
    model: str
    label: str | None
    confidence: float | None
    unsure: bool | None
    novelty: float | None
    stats: Mapping[str, float]


COLUMNS = tuple(field.name for field in fields(PredictionRecord))


@dataclass(frozen=True)
class PredictionLog:
    """The log in the file ``path``, which is made on the first write. Several processes may write at once.

    Attributes:
        path: the SQLite file.
        limit: predictions that are kept, and for a while up to a hundredth more.
    """

    path: Path
    limit: int = LIMIT

    def add(self, records: Sequence[PredictionRecord]) -> None:
        """Write predictions, and delete the oldest beyond the limit with their feedback.

        Raises:
            GraftError: the file cannot be written.
        """
        rows = [(*(getattr(record, name) for name in COLUMNS[:-1]), json.dumps(record.stats)) for record in records]
        with self._open() as database:
            marks = ", ".join("?" * len(COLUMNS))
            database.executemany(f"INSERT OR REPLACE INTO predictions VALUES ({marks})", rows)
            # An upper bound of the count: a replaced row leaves a gap.
            (most,) = database.execute("SELECT coalesce(max(rowid) - min(rowid) + 1, 0) FROM predictions").fetchone()
            if most <= self.limit + self.limit // _SLACK:
                return
            oldest = "SELECT id FROM predictions ORDER BY at DESC, rowid DESC LIMIT -1 OFFSET ?"
            database.execute(f"DELETE FROM feedback WHERE id IN ({oldest})", (self.limit,))
            database.execute(f"DELETE FROM predictions WHERE id IN ({oldest})", (self.limit,))

    def correct(self, prediction: str, label: str, at: float) -> bool:
        """Write the true label of a prediction, over an earlier one; False where there is no such prediction.

        Raises:
            GraftError: the file cannot be written.
        """
        with self._open() as database:
            if database.execute("SELECT 1 FROM predictions WHERE id = ?", (prediction,)).fetchone() is None:
                return False
            database.execute("INSERT OR REPLACE INTO feedback VALUES (?, ?, ?)", (prediction, at, label))
            return True

    def read(self, since: float = 0.0) -> pd.DataFrame:
        """Predictions from ``since`` (seconds since 1970) on, oldest first.

        Returns:
            The columns of a :class:`PredictionRecord`, one for each of its ``stats``, and ``truth``, the label that
            people gave, or None.

        Raises:
            GraftError: the file cannot be read.
        """
        import pandas as pd

        rows = []
        if self.path.exists():
            named = ", ".join(f"predictions.{name}" for name in COLUMNS)
            with self._open() as database:
                rows = database.execute(
                    f"SELECT {named}, feedback.label FROM predictions LEFT JOIN feedback USING (id) "
                    "WHERE predictions.at >= ? ORDER BY predictions.at, predictions.rowid",
                    (since,),
                ).fetchall()
        table = pd.DataFrame(rows, columns=[*COLUMNS, "truth"])
        stats = pd.DataFrame([json.loads(text) for text in table.pop("stats")], index=table.index)
        return table.join(stats)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The file, in one transaction."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=_TIMEOUT_SECONDS)) as database:
                _use_write_ahead_log(database)
                # A crash of the machine may cost the last predictions, never the file; commits need not wait for it.
                database.execute("PRAGMA synchronous = NORMAL")
                database.executescript(_SCHEMA)
                with database:
                    yield database
        except (OSError, sqlite3.Error) as error:
            raise GraftError(
                f"the prediction log cannot be used: {error}",
                where=self.path,
                remedy="make room or mend its permissions; a damaged log may be deleted",
            ) from None


def _use_write_ahead_log(database: sqlite3.Connection) -> None:
    """Let readers and a writer work at the same time.

    SQLite refuses one of two processes that do this to a new file at the same moment, whatever its time-out.
    """
    until = time.monotonic() + _TIMEOUT_SECONDS
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
