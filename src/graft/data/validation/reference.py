"""What the data is compared with: the facts of the data that passed last, kept in data/validated.json.

The file outlives a run (``persist`` in dvc.yaml), so it must not make a second run on the same data see something
else than the first. Therefore it holds two summaries: of the data that passed last, and of the other data that
passed before. Data that is there already is compared with the earlier one, however often it is validated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.errors import DataError, WeightsError
from graft.core.files import write_json
from graft.core.workspace import Workspace
from graft.data.validation.drift import Distribution, Numbers, Shares, summarise_facts
from graft.inference.artifact import CARD_FILE, read_card

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1


@dataclass(frozen=True)
class Summary:
    """Data that passed.

    Attributes:
        fingerprint: SHA-256 of its labels and pixels; the same for the same images, in any order, by any name.
        facts: the distribution of each fact.
    """

    fingerprint: str
    facts: Mapping[str, Distribution]


@dataclass(frozen=True)
class History:
    """The data that passed last, and the other data that passed before it, if any did."""

    last: Summary | None = None
    before: Summary | None = None

    def reference(self, data: Summary) -> Mapping[str, Distribution] | None:
        """The facts that ``data`` is compared with: those of the last data that passed and is not itself."""
        known = self.before if self.last is not None and self.last.fingerprint == data.fingerprint else self.last
        return None if known is None else known.facts

    def passed(self, data: Summary) -> History:
        """The history after ``data`` passed."""
        if self.last is not None and self.last.fingerprint == data.fingerprint:
            return History(data, self.before)
        return History(data, self.last)


def summarise_data(manifest: pd.DataFrame) -> Summary:
    """The summary of the images that can be decoded, quarantined ones included: thresholds do not change it."""
    rows = manifest[manifest["problems"].isna()]
    lines = sorted(f"{label}\0{pixels}\n" for label, pixels in zip(rows["label"], rows["pixel_sha256"], strict=True))
    return Summary(hashlib.sha256("".join(lines).encode()).hexdigest(), summarise_facts(rows))


def read_history(path: Path) -> History:
    """Read the file; empty where there is none yet, or where another version of graft wrote it.

    Raises:
        DataError: the file is damaged.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            return History()
        return History(_summary_of(values["last"]), _summary_of(values["before"]))
    except FileNotFoundError:
        return History()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the summary of the last validated data is damaged: {error!r}",
            where=path,
            remedy="delete it; this run's data is then compared with nothing, and the next with this",
        ) from None


def classes_in_use(workspace: Workspace) -> tuple[tuple[str, ...] | None, str | None]:
    """The classes of the packaged model, or None where there is none to compare with; and what is wrong with it."""
    try:
        return read_card(workspace.packaged).classes, None
    except WeightsError as error:
        return None, error.what if (workspace.packaged / CARD_FILE).exists() else None


def write_history(path: Path, history: History) -> None:
    """Write the file whole."""
    write_json(path, {"format": FORMAT, "last": _json_of(history.last), "before": _json_of(history.before)})


def _json_of(summary: Summary | None) -> dict[str, Any] | None:
    if summary is None:
        return None
    facts = {
        name: {"count": item.count, "points": list(item.points)}
        if isinstance(item, Numbers)
        else {"counts": dict(item.counts)}
        for name, item in summary.facts.items()
    }
    return {"fingerprint": summary.fingerprint, "facts": facts}


def _summary_of(values: Any) -> Summary | None:
    if values is None:
        return None
    facts: dict[str, Distribution] = {
        name: Shares({str(key): int(count) for key, count in item["counts"].items()})
        if "counts" in item
        else Numbers(int(item["count"]), tuple(float(point) for point in item["points"]))
        for name, item in values["facts"].items()
    }
    return Summary(str(values["fingerprint"]), facts)
