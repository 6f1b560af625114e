"""What the data is compared with: the distributions of the data that passed last, kept in data/validated.json.

The file outlives a run (``persist`` in dvc.yaml), so it must not make a second run on the same data see something
else than the first. Therefore it holds two summaries: of the data that passed last, and of the other data that
passed before. Data that is there already is compared with the earlier one, however often it is validated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from graft.core.errors import DataError
from graft.core.files import write_json
from graft.data.manifest import with_strata
from graft.data.validation.drift import Distribution, summarise
from graft.modalities.base import Modality

if TYPE_CHECKING:
    import pandas as pd

    from graft.tasks.base import Task

FORMAT = 2


@dataclass(frozen=True)
class DataSummary:
    """Data that passed: the SHA-256 of its labels and pixels, the same for the same images in any order and by any
    name, and the distribution of each drift feature."""

    fingerprint: str
    distributions: Mapping[str, Distribution]


@dataclass(frozen=True)
class ValidationHistory:
    """The data that passed last, and the other data that passed before it, if any did."""

    last: DataSummary | None = None
    before: DataSummary | None = None

    def reference(self, data: DataSummary) -> Mapping[str, Distribution] | None:
        """The distributions that ``data`` is compared with: those of the last data that passed and is not itself."""
        known = self.before if self.last is not None and self.last.fingerprint == data.fingerprint else self.last
        return None if known is None else known.distributions

    def passed(self, data: DataSummary) -> ValidationHistory:
        """The history after ``data`` passed."""
        if self.last is not None and self.last.fingerprint == data.fingerprint:
            return ValidationHistory(data, self.before)
        return ValidationHistory(data, self.last)


def summarise_data(manifest: pd.DataFrame, modality: Modality, task: Task) -> DataSummary:
    """The summary of the samples that can be decoded, quarantined ones included: thresholds do not change it."""
    rows = manifest[manifest["problems"].isna()]
    content = rows[modality.fingerprint_column]
    lines = sorted(f"{label}\0{value}\n" for label, value in zip(rows["label"], content, strict=True))
    distributions = summarise(with_strata(rows, task), modality.drift_features)
    return DataSummary(hashlib.sha256("".join(lines).encode()).hexdigest(), distributions)


def read_history(path: Path) -> ValidationHistory:
    """Read the file; empty where there is none yet, or where another version of graft wrote it.

    Raises:
        DataError: the file is damaged.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return _history_type().validate_python(values["history"]) if values["format"] == FORMAT else ValidationHistory()
    except FileNotFoundError:
        return ValidationHistory()
    except (KeyError, TypeError, ValueError) as error:  # pydantic's own error is a ValueError
        raise DataError(
            f"the summary of the last validated data is damaged: {error!r}",
            where=path,
            remedy="delete it; this run's data is then compared with nothing, and the next with this",
        ) from None


def write_history(path: Path, history: ValidationHistory) -> None:
    """Write the file whole."""
    write_json(path, {"format": FORMAT, "history": _history_type().dump_python(history, mode="json")})


@cache
def _history_type() -> TypeAdapter[ValidationHistory]:
    return TypeAdapter(ValidationHistory)
