"""What graft writes, and what of it is the user's: by any spelling, after a kill, and at every command."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from graft.cli.main import app
from graft.core.errors import DataError, WeightsError
from graft.data.protected_paths import outputs_of, refuse_output
from graft.data.sources.listing import SourceSpec
from graft.data.sources.registry import list_source
from graft.evaluation.external_data import read_external_data
from tests.conftest import write_classes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(workspace_with: Callable[..., Path]) -> Path:
    """A project with the shipped graph, and with nothing made."""
    folder = workspace_with()
    shutil.copy(ROOT / "dvc.yaml", folder)
    return folder


def test_the_outputs_are_those_of_the_graph(root: Path, tmp_path: Path) -> None:
    stages = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert outputs_of(root) == {name: tuple(Path(next(iter(out))) for out in stages[name]["outs"]) for name in stages}
    assert outputs_of(tmp_path) == {}


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("data/raw", "this lies in data/raw,"),
        ("data/raw/cat", "this lies in data/raw,"),
        ("models/finetuned/model.safetensors", "this lies in models/finetuned,"),
        ("models/promoted", "this lies in models/promoted,"),
        (".graft/cache", "this lies in .graft,"),
        ("data/manifest.parquet", "this lies in data/manifest.parquet,"),
        ("reports", "this holds reports/validation,"),
        ("..", "this holds data/.links/data.source.json,"),
    ],
)
def test_what_is_holds_or_lies_in_an_output_is_refused_before_it_is_there(root: Path, path: str, says: str) -> None:
    with pytest.raises(WeightsError) as caught:
        refuse_output(root / path, root, WeightsError)
    assert caught.value.message() == (
        f"{says} which graft writes and replaces\n  where: {root / path}\n"
        "  remedy: put what is yours into a folder of its own, for instance data/mine, and name that"
    )


@pytest.mark.parametrize("path", ["data/mine", "data/source", "data/rawer", "photos", "../photos", "models/mine.pth"])
def test_what_lies_beside_is_not(root: Path, path: str) -> None:
    (root / "data/raw").mkdir(parents=True)
    refuse_output(root / path, root)
    refuse_output(root / path, root / "data")  # the project is found from a folder inside it


def test_links_and_their_ends_are_seen_through(root: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for name in ("data", "reports"):
        (root / name).mkdir()
    (root / "data/raw").symlink_to(tmp_path / "disk")
    (tmp_path / "other name").symlink_to(tmp_path / "disk")
    for path in (tmp_path / "disk", tmp_path / "other name", root / "reports/../data/raw/cat"):
        with pytest.raises(DataError, match="this lies in data/raw, which graft writes"):
            refuse_output(path, root)


def test_another_case_is_seen_through_where_the_disk_knows_none(root: Path) -> None:
    with pytest.raises(DataError, match="this lies in reports/tuning, which graft writes"):
        refuse_output(root / "Reports/Tuning", root)  # neither is there, so no disk can be asked
    (root / "data/raw").mkdir(parents=True)
    if not (root / "DATA/Raw").exists():
        (root / "DATA/Raw").mkdir(parents=True)
        refuse_output(root / "DATA/Raw", root)  # another folder
        return
    with pytest.raises(DataError, match="this lies in data/raw, which graft writes"):
        refuse_output(root / "DATA/Raw", root)


@pytest.mark.parametrize(
    "command",
    [
        ["doctor", "data/raw"],
        ["doctor", "data/mine", "--fix", "data/raw/clean.csv"],
        ["evaluate", "--data", "data/mine", "--out", "data/raw"],
        ["rank", "data/raw"],
    ],
)
def test_every_command_refuses_with_the_same_words(
    root: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("raw", "mine"):
        write_classes(root / "data" / name, {"cat": 2, "dog": 2})
    before = {path: path.read_bytes() for path in root.rglob("*.png")}
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "this lies in data/raw, which graft writes and replaces" in done.output
    assert before == {path: path.read_bytes() for path in root.rglob("*.png")}


def test_so_does_the_data_that_models_are_evaluated_on(root: Path, tmp_path: Path) -> None:
    write_classes(root / "data/raw", {"cat": 2, "dog": 2})
    with pytest.raises(DataError, match="this lies in data/raw, which graft writes"):
        read_external_data("data/raw", Path.cwd(), tmp_path)


def test_a_table_whose_images_lie_in_an_output_is_refused(root: Path, tmp_path: Path) -> None:
    write_classes(root / "data/raw", {"cat": 2, "dog": 2})
    write_classes(root / "photos", {"cat": 2, "dog": 2})
    files = [path.relative_to(root) for path in sorted(root.rglob("*.png"))]
    table = root / "labels.csv"
    table.write_text("path,label\n" + "".join(f"{path},{path.parent.name}\n" for path in files))
    with pytest.raises(DataError, match="this lies in data/raw, which graft writes"):
        list_source(SourceSpec("labels.csv", root, tmp_path))
    table.write_text(
        "path,label\n" + "".join(f"{path},{path.parent.name}\n" for path in files if "raw" not in path.parts)
    )
    assert len(list_source(SourceSpec("labels.csv", root, tmp_path)).samples) == 4, "a table beside the outputs is fine"
