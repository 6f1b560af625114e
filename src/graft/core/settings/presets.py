"""What `preset` in params.yaml stands for: settings for so much time, under those that a user sets.

To change a preset, change its rows; `graft presets` prints the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

PresetName = Literal["quick", "balanced", "best"]
NAMES: tuple[PresetName, ...] = get_args(PresetName)
DEFAULT: PresetName = "balanced"
# What each preset is for, in a line.
SAYS: Mapping[PresetName, str] = {
    "quick": "a linear head on frozen features: a first model in a minute",
    "balanced": "two finalists fine-tuned in some folds, and a small proof that transfer helps",
    "best": "more finalists, fine-tuned without each fold, and a longer proof",
}


@dataclass(frozen=True)
class PresetRow:
    """A key of params.yaml that presets set, and its value by preset."""

    key: str
    quick: Any
    balanced: Any
    best: Any

    def value(self, preset: PresetName) -> Any:
        """The value of a preset."""
        return getattr(self, preset)


ROWS: tuple[PresetRow, ...] = (
    PresetRow("augment.preview", False, True, True),
    PresetRow("select.finalists", 1, 2, 3),
    PresetRow("select.finetune_folds", 2, 2, None),
    PresetRow("train.strategy", "extract", "auto", "auto"),
    PresetRow("train.control", False, True, True),
    PresetRow("train.control_size", None, 64, 96),
    PresetRow("train.control_seeds", 0, 0, 1),
    PresetRow("tune.trials", 0, 0, 0),
)


def preset_values(preset: PresetName) -> dict[str, Any]:
    """The settings of a preset, nested as params.yaml has them."""
    values: dict[str, Any] = {}
    for row in ROWS:
        section, _, name = row.key.partition(".")
        values.setdefault(section, {})[name] = row.value(preset)
    return values
