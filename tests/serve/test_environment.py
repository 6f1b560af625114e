"""The table of variables: each row is whole, read somewhere, and refused by name where it cannot be used."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from graft.errors import ConfigError
from graft.serve import environment
from graft.serve.environment import ELSEWHERE, VARIABLES, Variable
from graft.serve.startup import look_at_the_environment

SERVE = Path(environment.__file__).parent
ROOT = SERVE.parents[2]
NUMBERS = [variable for variable in VARIABLES if variable.least is not None]


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_each_is_described_and_read(variable: Variable) -> None:
    assert variable.name.startswith("GRAFT_") and len(variable.meaning) > 20
    readers = [path.name for path in SERVE.glob("*.py") if path.name != "environment.py"]
    assert any(f'"{variable.name}"' in (SERVE / name).read_text() for name in readers)


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
    assert read == {variable.name for variable in VARIABLES} | ELSEWHERE


def test_a_slip_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in os.environ if name.startswith("GRAFT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GRAFT_OFFLINE", "1")
    look_at_the_environment("127.0.0.1")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("GRAFT_APIKEY", "secret")
    look_at_the_environment("127.0.0.1")
    said = capsys.readouterr().err
    assert said.startswith("warning: GRAFT_APIKEY sets nothing here; did you mean 'GRAFT_API_KEY'")
    assert "secret" not in said


@pytest.mark.parametrize("variable", NUMBERS, ids=lambda variable: variable.name)
def test_numbers_have_usable_defaults_and_refuse_what_is_none(
    variable: Variable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable.name, raising=False)
    assert environment.number(variable.name) == float(variable.default) >= (variable.least or 0)
    for wrong in ("-1", "many", "nan", "inf"):
        monkeypatch.setenv(variable.name, wrong)
        with pytest.raises(ConfigError, match=f"{variable.name}={wrong} is no number from") as raised:
            environment.check()
        assert raised.value.remedy == f"it is: {variable.meaning}"


def test_switches_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, on in (("", False), ("0", False), ("1", True), ("yes", True)):
        monkeypatch.setenv("GRAFT_OPEN", value)
        assert environment.is_on("GRAFT_OPEN") is on
    monkeypatch.setenv("GRAFT_OPEN", "perhaps")
    with pytest.raises(ConfigError, match="GRAFT_OPEN=perhaps is neither on nor off"):
        environment.check()
    monkeypatch.setenv("GRAFT_OPEN", "")
    monkeypatch.setenv("GRAFT_LOG", "jsn")
    with pytest.raises(ConfigError, match="GRAFT_LOG=jsn is not known") as raised:
        environment.check()
    assert raised.value.remedy == "did you mean 'json'?"
