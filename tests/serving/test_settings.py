"""The table of variables: each row is whole, read somewhere, and refused by name where it cannot be used."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from graft.core.errors import ConfigError
from graft.serving import settings
from graft.serving.settings import (
    ELSEWHERE,
    REMOVED,
    VARIABLES,
    ServiceSettings,
    Variable,
    make_paths_absolute,
    unknown_variables,
)

SERVE = Path(settings.__file__).parent
ROOT = SERVE.parents[2]
NUMBERS = [variable for variable in VARIABLES if variable.least is not None]


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GRAFT_")]:
        monkeypatch.delenv(name)


def test_the_page_of_the_docs_lists_them_as_the_table_does() -> None:
    page = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    rows = [f"| `{one.name}` | {f'`{one.default}`' if one.default else ''} | {one.meaning} |" for one in VARIABLES]
    assert [row for row in rows if row not in page] == []
    assert page.count("| `GRAFT_") == len(rows)


def test_names_are_given_once() -> None:
    assert len({variable.name for variable in VARIABLES}) == len(VARIABLES)


def test_every_name_that_graft_reads_is_known() -> None:
    files = [file for room in ("src", "flows") for file in (ROOT / room).rglob("*") if file.suffix in {".py", ".sh"}]
    read = {name for file in files for name in re.findall(r"\bGRAFT_[A-Z]+(?:_[A-Z]+)*\b", file.read_text("utf-8"))}
    assert read == {variable.name for variable in VARIABLES} | ELSEWHERE | set(REMOVED)


def test_a_slip_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_OFFLINE", "1")
    assert unknown_variables() == []
    monkeypatch.setenv("GRAFT_APIKEY", "secret")
    (warning,) = unknown_variables()
    assert warning.startswith("GRAFT_APIKEY sets nothing here; did you mean 'GRAFT_API_KEY'")
    assert "secret" not in warning


@pytest.mark.parametrize("variable", NUMBERS, ids=lambda variable: variable.name)
@pytest.mark.parametrize("wrong", ["-1", "many", "nan", "inf"])
def test_numbers_that_cannot_be_used(variable: Variable, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable.name, wrong)
    with pytest.raises(ConfigError, match=f"{variable.name}={wrong} is no number from") as raised:
        ServiceSettings.from_environment()
    assert raised.value.remedy == f"it is: {variable.meaning}"


@pytest.mark.parametrize("name", REMOVED)
def test_removed_variables_are_refused_with_what_took_their_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match=f"{name} is no setting of the service any more") as raised:
        ServiceSettings.from_environment()
    assert raised.value.remedy == REMOVED[name]


def test_defaults() -> None:
    found = ServiceSettings.from_environment()
    assert (found.workers, found.api_key, found.allow_remote, found.hosts) == (None, "", False, ())
    assert (found.max_body, found.max_batch_body) == (20 << 20, 100 << 20)
    assert (found.prediction_log, found.keep_images, found.keep_images_limit) == ("", None, 1 << 30)


def test_values(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"GRAFT_WORKERS": "2", "GRAFT_OPEN": "yes", "GRAFT_MAX_BODY": "0.5", "GRAFT_KEEP_IMAGES": "kept"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    found = ServiceSettings.from_environment()
    assert (found.workers, found.allow_remote, found.max_body, found.keep_images) == (2, True, 1 << 19, Path("kept"))
    assert found.hosts == ("*",), "where other machines may ask, any name may be theirs for the service"
    monkeypatch.setenv("GRAFT_HOSTS", "images.example.com, x")
    assert ServiceSettings.from_environment().hosts == ("images.example.com", "x")
    monkeypatch.setenv("GRAFT_OPEN", "perhaps")
    with pytest.raises(ConfigError, match="GRAFT_OPEN=perhaps is neither on nor off"):
        ServiceSettings.from_environment()


def test_relative_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAFT_MODEL", "model")
    monkeypatch.setenv("GRAFT_PREDICTION_LOG", "off")
    make_paths_absolute()
    assert (os.environ["GRAFT_MODEL"], os.environ["GRAFT_PREDICTION_LOG"]) == (str(tmp_path / "model"), "off")
