"""What was ever tested or trained on (data/split_history.json), which the stratified split keeps to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.errors import DataError
from graft.core.files import write_json

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from graft.core.settings import Params

    Bools = NDArray[np.bool_]

FORMAT = 1


@dataclass(frozen=True)
class SplitHistory:
    """Images that were ever tested or trained on, still there or not, by the SHA-256 of their pixels; and the settings
    by which they were divided, for other ones ask for another division."""

    asked: Mapping[str, float | None]
    tested: frozenset[str] = frozenset()
    trained: frozenset[str] = frozenset()

    def with_split(self, pixels: pd.Series, tested: Bools, trained: Bools, params: Params) -> SplitHistory:
        """What is known after a division; where an image changed sides, because that was asked for, the new side."""
        now_tested, now_trained = frozenset(pixels[tested]), frozenset(pixels[trained])
        return SplitHistory(
            asked_of(params), (self.tested - now_trained) | now_tested, (self.trained - now_tested) | now_trained
        )


def asked_of(params: Params) -> dict[str, float | None]:
    """The settings that say how much is tested."""
    return {"test_fraction": params.data.test_fraction, "train_per_class": params.data.train_per_class}


def read_split_history(path: Path) -> SplitHistory | None:
    """Read the file; None where there is none.

    Raises:
        DataError: the file is damaged, or another version of graft wrote it.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"its format is {values['format']!r}, not {FORMAT}")
        return SplitHistory(dict(values["asked"]), frozenset(values["tested"]), frozenset(values["trained"]))
    except FileNotFoundError:
        return None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the record of which images were tested is damaged: {error}",
            where=path,
            remedy=f"`.venv/bin/dvc checkout {path}` brings the last one back; delete it, and the test is drawn anew",
        ) from None


def write_split_history(path: Path, history: SplitHistory) -> None:
    """Write the file whole."""
    sides = {"tested": sorted(history.tested), "trained": sorted(history.trained)}
    write_json(path, {"format": FORMAT, "asked": dict(history.asked), **sides})
