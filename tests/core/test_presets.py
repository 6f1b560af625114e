"""Presets: each row of the table by itself, in the settings and in the file that graft ships."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from graft.core.config import flatten, keys_set, load_params, parse_params
from graft.core.errors import ConfigError
from graft.core.settings import Params
from graft.core.settings.presets import DEFAULT, NAMES, ROWS, SAYS, PresetName, PresetRow, preset_values

SHIPPED = Path(__file__).parents[2] / "params.yaml"
KEYS = [row.key for row in ROWS]
# A value of each key that is none of the presets'.
OTHERS: dict[str, Any] = {
    "select.finalists": 7,
    "select.finetune_folds": 3,
    "train.strategy": "wise_ft",
    "train.control_size": 48,
    "train.control_steps": 77,
    "train.control_seeds": 9,
    "tune.trials": 5,
}
EACH = [(row, preset) for row in ROWS for preset in NAMES]
IDS = [f"{row.key} {preset}" for row, preset in EACH]


def settings(**values: Any) -> dict[str, Any]:
    return flatten(parse_params({"zoo": {"candidates": ["resnet18"]}, **values}, "p"))


def test_every_row_is_of_a_key_that_there_is_and_of_each_only_once() -> None:
    known = set(flatten(Params()))
    assert set(KEYS) <= known and len(set(KEYS)) == len(KEYS)
    assert set(SAYS) == set(NAMES) == {field.name for field in dataclasses.fields(PresetRow)} - {"key"}


@pytest.mark.parametrize(("row", "preset"), EACH, ids=IDS)
def test_the_preset_s_value_holds_where_the_file_has_none(row: PresetRow, preset: PresetName) -> None:
    assert settings(preset=preset)[row.key] == row.value(preset)


@pytest.mark.parametrize(("row", "preset"), EACH, ids=IDS)
def test_the_user_s_own_value_wins_and_the_other_rows_stay(row: PresetRow, preset: PresetName) -> None:
    """Also null and false, which are values."""
    section, _, name = row.key.partition(".")
    own = OTHERS.get(row.key, not row.value(preset))
    for value in (own, None) if row.key in ("select.finetune_folds", "train.control_size") else (own,):
        found = settings(preset=preset, **{section: {name: value}})
        assert found[row.key] == value
        assert all(found[other.key] == other.value(preset) for other in ROWS if other is not row)


@pytest.mark.parametrize("preset", NAMES)
def test_a_preset_sets_its_rows_and_nothing_else(preset: PresetName) -> None:
    plain = flatten(Params())
    found = settings(preset=preset)
    changed = {key for key, value in found.items() if value != plain[key]} - {"preset", "zoo.candidates"}
    assert changed <= set(KEYS)


def test_without_a_preset_it_is_the_default() -> None:
    assert settings() == settings(preset=DEFAULT) and load_params(SHIPPED).preset == DEFAULT


@pytest.mark.parametrize("preset", ["fast", "", None, 3, ["quick"]])
def test_an_unknown_preset_is_refused_with_what_it_means(preset: object) -> None:
    with pytest.raises(ConfigError, match="the key 'preset' cannot be") as refused:
        settings(preset=preset)
    assert "preset is: how much is done: quick, balanced or best" in str(refused.value.remedy)


@pytest.mark.parametrize("minutes", [0, -1, "long"])
def test_a_time_limit_is_a_number_of_minutes(minutes: object) -> None:
    assert settings(time_limit=2.5)["time_limit"] == 2.5 and settings()["time_limit"] is None
    with pytest.raises(ConfigError, match="the key 'time_limit' cannot be"):
        settings(time_limit=minutes)


def test_the_shipped_file_has_every_key_of_the_table_as_a_comment_with_the_default_s_value() -> None:
    """So a user sees what may be set, and the preset holds until he does. No preset at all sets it to null there."""
    text = SHIPPED.read_text(encoding="utf-8")
    assert not set(KEYS) & keys_set(SHIPPED)
    for row in ROWS:
        section, _, name = row.key.partition(".")
        own = re.search(rf"^{section}:\n((?:  .*\n|\n)*)", text, flags=re.MULTILINE)
        assert own is not None
        (line,) = re.findall(rf"^  # {name}: (.*)$", own[1], flags=re.MULTILINE)
        shown = {None: "null", True: "true", False: "false"}
        value = row.value(DEFAULT)
        assert line == (shown[value] if value is None or isinstance(value, bool) else str(value)), row.key


def test_values_are_nested_as_the_file_has_them() -> None:
    values = preset_values("best")
    assert {f"{section}.{name}" for section, keys in values.items() for name in keys} == set(KEYS)


def test_the_keys_that_a_file_sets_are_its_own(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("preset: best\ntrain:\n  control: false\ntune:\nzoo: {candidates: [resnet18]}\n", encoding="utf-8")
    assert keys_set(file) == {"preset", "train.control", "tune", "zoo.candidates"}
