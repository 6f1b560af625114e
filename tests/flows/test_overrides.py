"""A deployment's values in params.yaml: written for all to see, and never over somebody's edit."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.overrides import write_overrides
from graft.core.config import load_params
from graft.core.errors import ConfigError
from graft.core.workspace import Workspace

TEXT = """\
seed: 0  # of everything

data:
  # what to learn from
  source: digits
zoo:
  candidates:
    - {arch: resnet18, weights: none, size: 32}
"""


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def loose(tmp_path: Path) -> Workspace:
    """A project without git."""
    (tmp_path / "params.yaml").write_text(TEXT)
    return Workspace(tmp_path)


@pytest.fixture
def checkout(loose: Workspace) -> Workspace:
    """A project whose params.yaml is committed."""
    git(loose.root, "init", "-q")
    git(loose.root, "add", "params.yaml")
    git(loose.root, "commit", "-qm", "first")
    return loose


def write(workspace: Workspace, **values: Any) -> list[str]:
    said: list[str] = []
    write_overrides(workspace, {key.replace("__", "."): value for key, value in values.items()}, said.append)
    return said


@pytest.mark.parametrize("kind", ["loose", "checkout"])
def test_values_are_written_and_all_else_stays(kind: str, request: pytest.FixtureRequest) -> None:
    workspace: Workspace = request.getfixturevalue(kind)
    said = write(workspace, data__source="/photos", package__gate__min_accuracy=0.9, compute__cache_gb=3.5)
    params = load_params(workspace.params)
    assert (params.data.source, params.package.gate.min_accuracy) == ("/photos", 0.9)
    assert params.compute.cache_gb == 3.5
    text = workspace.params.read_text()
    assert "# of everything" in text and "# what to learn from" in text
    assert said[0] == 'params.yaml: data.source is "/photos" by this run\'s parameters'
    assert write(workspace, data__source="/photos", package__gate__min_accuracy=0.9, compute__cache_gb=3.5) == []


def test_a_value_that_is_no_longer_named_goes_back_to_the_committed_one(checkout: Workspace) -> None:
    write(checkout, data__source="/photos")
    write(checkout, seed=3)
    params = load_params(checkout.params)
    assert (params.data.source, params.seed) == ("digits", 3)


def test_without_any_value_the_file_is_as_it_was_committed(checkout: Workspace) -> None:
    write(checkout, data__source="/photos")
    said = write(checkout)
    assert said == ["params.yaml: it is as git has it again, for this run's parameters name no value"]
    assert checkout.params.read_text() == TEXT
    assert write(checkout) == []


@pytest.mark.parametrize("kind", ["loose", "checkout"])
def test_without_any_value_an_edit_stays_and_is_trained_with(kind: str, request: pytest.FixtureRequest) -> None:
    workspace: Workspace = request.getfixturevalue(kind)
    edited = TEXT.replace("seed: 0", "seed:   7")
    workspace.params.write_text(edited)
    assert write(workspace) == []
    assert workspace.params.read_text() == edited


def test_of_the_projects_own_file_only_the_value_changes(loose: Workspace) -> None:
    """A team reads the difference. It is laid out as DVC writes it: `dvc exp run -S` changes one value, too."""
    own = (Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8")
    loose.params.write_text(own, encoding="utf-8")
    assert write(loose, data__source="/Bilder für uns") == [
        'params.yaml: data.source is "/Bilder für uns" by this run\'s parameters'
    ]
    assert loose.params.read_text(encoding="utf-8") == own.replace("source: digits", "source: /Bilder für uns")
    by_dvc = io.StringIO()
    yaml = YAML()
    yaml.dump(yaml.load(own), by_dvc)
    assert by_dvc.getvalue() == own, "DVC would reformat these lines; null is written as nothing"


def test_somebodys_edit_is_left_alone(checkout: Workspace) -> None:
    write(checkout, data__source="/photos")
    edited = checkout.params.read_text().replace("seed: 0", "seed: 7")
    checkout.params.write_text(edited)
    with pytest.raises(ConfigError) as caught:
        write(checkout, data__source="/others")
    assert caught.value.what == "params.yaml has edits that are not committed, and this run brings values of its own"
    assert caught.value.remedy == "commit them, or take them back with `git checkout params.yaml`"
    assert checkout.params.read_text() == edited
    git(checkout.root, "commit", "-qam", "second")
    write(checkout, data__source="/others")
    assert (load_params(checkout.params).seed, load_params(checkout.params).data.source) == (7, "/others")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.sorce", "x", "unknown key 'data.sorce'"),
        ("package.gate.min_accuracy", "much", "the key 'package.gate.min_accuracy' cannot be 'much'"),
        ("seed.of", 1, "'seed.of' is no key of params.yaml"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_written(
    checkout: Workspace, key: str, value: object, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        write_overrides(checkout, {key: value}, print)
    assert caught.value.what.startswith(message)
    assert checkout.params.read_text() == TEXT


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no params\.yaml here"):
        write(Workspace(tmp_path), seed=1)
