"""`graft presets`: which settings each preset stands for."""

from __future__ import annotations

import json
from typing import Any

from graft.core.config import meaning_of
from graft.core.settings.presets import NAMES, ROWS, SAYS


def list_presets(as_json: bool) -> None:
    """Print what each preset is for, and a row for each key that presets set, with its value by preset."""
    if as_json:
        print(json.dumps({row.key: {name: row.value(name) for name in NAMES} for row in ROWS}))
        return
    for name in NAMES:
        print(f"{name:<10}{SAYS[name]}")
    cells = [("key", *NAMES), *((row.key, *(_shown(row.value(name)) for name in NAMES)) for row in ROWS)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print()
    for (key, *values), row in zip(cells, (None, *ROWS), strict=True):
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip((key, *values), widths, strict=True))
        # Its first clause: params.yaml and the settings' docstrings say the rest.
        meaning = "meaning" if row is None else meaning_of(row.key).partition("; ")[0]
        print(f"{line}  {meaning.partition('. ')[0]}")
    print("\nWhat params.yaml sets itself wins over its preset.")


def _shown(value: Any) -> str:
    """A value as params.yaml writes it."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
