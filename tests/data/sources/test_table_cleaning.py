"""Tables: every fault is found at once with the change that mends it, and a copy is cleaned; no more is touched."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from graft.core.errors import DataError
from graft.data.doctor.cleaned_copy import write_cleaned_copy
from graft.data.doctor.console import print_audit
from graft.data.doctor.doctor import DEFAULTS, audit_path, doctor
from graft.data.ingest import ingested_table
from graft.data.sources.listing import SourceListing, SourceSpec
from graft.data.sources.registry import list_source
from graft.data.sources.tables.problems import TableProblem
from graft.data.sources.tables.reader import read_table as audit_table
from graft.data.sources.tables.rules import RULES, check_rows
from graft.data.sources.tables.spelling import label_key, tidy
from tests.conftest import picture, write_classes

Row = tuple[str, str, str]
GOOD: list[Row] = [
    ("cat/cat_000.png", "cat", "train"),
    ("cat/cat_001.png", "cat", "test"),
    ("dog/dog_000.png", "dog", "train"),
    ("dog/dog_001.png", "dog", "test"),
]


@pytest.fixture(autouse=True)
def in_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor takes the settings of the project around the current folder: here there is none."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("cleaning"), {"cat": 3, "dog": 3})


def write(folder: Path, rows: list[Row], name: str = "table.csv") -> Path:
    frame = pd.DataFrame(rows, columns=["path", "label", "split"])
    frame.to_csv(folder / name, index=False) if name.endswith("csv") else frame.to_parquet(folder / name)
    return folder / name


def read_table(path: Path) -> SourceListing:
    return list_source(SourceSpec(str(path), Path(), Path()))


def broken(found: SourceListing) -> dict[str, TableProblem]:
    return {problem.check: problem for problem in found.problems if not problem.met}


# For every rule a row that breaks it, and the changes that are proposed: (row, column, after).
PLANTED: dict[str, tuple[list[Row], list[tuple[int, str, str | None]]]] = {
    "row_path": ([(" ", "cat", "train")], [(5, "", None)]),
    "file_there": (
        [("cat/nowhere.png", "cat", "train"), ("Cat\\CAT_002.PNG ", "cat", "train")],
        [(5, "", None), (6, "path", "cat/cat_002.png")],
    ),
    "row_label": (
        [("cat/cat_002.png", " ", "train"), ("dog/dog_002.png", "nan", "train")],
        [(5, "", None), (6, "", None)],
    ),
    "label_spelling": (
        [("cat/cat_002.png", "Cat", "train"), ("dog/dog_002.png", "dog ", "train")],
        [(5, "label", "cat"), (6, "label", "dog")],
    ),
    "label_space": ([("cat/cat_002.png", " lion", "train")], [(5, "label", "lion")]),
    "one_label": (
        [("cat/cat_002.png", "cat, dog", "train"), ("dog/dog_002.png", "bird, of prey", "train")],
        [(5, "", None)],
    ),
    "listed_once": (
        [("./cat/cat_000.png", "cat", "test"), ("dog/../dog/dog_001.png", "cat", "test")],
        # Of the first two the tested one stays; nobody knows which label of the others is right.
        [(1, "", None), (4, "", None), (6, "", None)],
    ),
    "known_split": (
        [("cat/cat_002.png", "cat", "trian"), ("dog/dog_002.png", "dog", "")],
        [(5, "split", "train"), (6, "", None)],
    ),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.problem.check)
def test_each_rule_finds_its_fault_and_nothing_else(rule: Any, images: Path) -> None:
    rule = rule.problem
    rows, wanted = PLANTED[rule.check]
    path = write(images, GOOD + rows)
    found = broken(audit_table(path))
    assert list(found) == [rule.check]
    assert [(change.row, change.column, change.after) for change in found[rule.check].changes] == wanted
    if rule.severity == "critical":
        with pytest.raises(DataError) as caught:
            read_table(path)
        assert f"`graft doctor {path} --fix OUT.csv` writes a cleaned copy" in str(caught.value.remedy)
        assert "(row " in caught.value.what
    else:
        assert read_table(path).samples[-1].label == "dog"


@pytest.mark.parametrize(
    ("cells", "several"),
    [
        (["archery,bobsled", "archery", "curling"], ["archery,bobsled"]),
        (["a;b", "b;c", "c;a"], ["a;b", "b;c", "c;a"]),
        (["a|b", "b"], ["a|b"]),
        # ImageNet names a class by all its names; nothing else says that these are two.
        (["tench, Tinca tinca", "goldfish, Carassius auratus"], []),
        (["Portland, Oregon", "Portland, Maine"], []),
    ],
)
def test_a_cell_with_several_labels_is_no_class_but_a_name_with_a_comma_is(
    images: Path, cells: list[str], several: list[str]
) -> None:
    path = write(images, [(f"cat/cat_{row:03d}.png", cell, "train") for row, cell in enumerate(cells)])
    changes = [change for problem in broken(audit_table(path)).values() for change in problem.changes]
    assert [cells[change.row - 1] for change in changes] == several
    if several:
        with pytest.raises(DataError) as caught:
            read_table(path)
        assert caught.value.what.startswith(
            f"{len(several)} of the {len(cells)} rows have several labels in one cell: "
        )
    else:
        assert {sample.label for sample in read_table(path).samples} == set(cells)


@pytest.mark.parametrize(
    ("heading", "end"), [("path,label", ","), ("path,label,", ","), ("path,label,", ""), ("path,label", ",,")]
)
def test_a_comma_at_the_end_of_lines_loses_nothing(images: Path, heading: str, end: str) -> None:
    path = images / "table.csv"
    path.write_text("\n".join([heading, *(f"{file},{label}{end}" for file, label, _ in GOOD)]) + "\n")
    found = read_table(path)
    assert broken(found) == {}
    assert [(sample.source, sample.label, sample.facts) for sample in found.samples] == [
        (file, label, ()) for file, label, _ in GOOD
    ]


def test_values_beyond_the_heading_are_not_dropped_in_silence(images: Path) -> None:
    path = images / "table.csv"
    path.write_text("path,label\n" + "".join(f"{file},{label},{split}\n" for file, label, split in GOOD))
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value) == (
        "the table cannot be read: its rows hold 3 values, and its heading names 2 columns\n"
        f"  where: {path}\n  remedy: save it again as UTF-8 CSV"
    )


DIVIDED = ["train", "test", "valid", "train"]


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        ("data set", DIVIDED, DIVIDED),
        ("Subset", ["Train", "TEST ", "Valid", "Train"], ["Train", "TEST ", "Valid", "Train"]),
        ("is_valid", ["False", "True", "True", "False"], ["train", "val", "val", "train"]),
        ("Is Test", ["0", "1", "0", "0"], ["train", "test", "train", "train"]),
        ("train", ["yes", "no", "yes", "yes"], ["train", "test", "train", "train"]),
    ],
)
def test_a_column_that_divides_the_images_is_never_ignored(
    images: Path, tmp_path: Path, name: str, values: list[str], wanted: list[str]
) -> None:
    path = images / "table.csv"
    frame = pd.DataFrame({"path": [row[0] for row in GOOD], "label": [row[1] for row in GOOD], name: values})
    frame.to_csv(path, index=False)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert caught.value.what == (
        f"the column {name!r} says which rows are for training, and is not called 'split': {name!r}"
    )
    assert str(caught.value.remedy).startswith(f"rename {name!r} to 'split'")
    assert "or, if the images are to be divided anew, add an empty column 'split'; `graft doctor" in str(
        caught.value.remedy
    )
    out = tmp_path / "clean.csv"
    write_cleaned_copy(audit_table(path), {}, out)
    assert pd.read_csv(out)["split"].tolist() == wanted
    assert {sample.split for sample in read_table(out).samples} == {"train", "test"}
    # The way out that the message names.
    frame.assign(split="").to_csv(path, index=False)
    assert {sample.split for sample in read_table(path).samples} == {None}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("note", ["train", "train", "train", "train"]),
        ("note", ["train", "test", "plane", "train"]),
        ("is_night", ["True", "False", "True", "False"]),
        ("is_valid", ["True", "True", "True", "True"]),
    ],
)
def test_a_column_that_does_not_divide_is_a_fact(images: Path, name: str, values: list[str]) -> None:
    path = images / "table.csv"
    rows = {"path": [row[0] for row in GOOD], "label": [row[1] for row in GOOD], name: values}
    pd.DataFrame(rows).to_csv(path, index=False)
    assert [sample.facts for sample in read_table(path).samples] == [((name, value),) for value in values]


@pytest.mark.parametrize(
    ("place", "written", "rule"),
    [
        ("", "cat/cat_{}", "'.png' after it"),
        ("", "C:\\Users\\me\\pets\\cat\\cat_{}.png", "3 outer folders taken off"),
        ("", "https://host.org/a%20b/cat/cat_{}.png?size=9", "1 outer folder taken off"),
        ("images", "cat_{}.png", "'images/cat/' before it"),
        ("../other", "set/cat_{}", "1 outer folder taken off and '../other/cat/' before it and '.png' after it"),
    ],
)
def test_where_one_rule_makes_all_paths_files_it_is_proposed(
    tmp_path: Path, place: str, written: str, rule: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    write_classes(home / place, {"cat": 12})
    rows = [(written.format(f"{number:03d}"), "cat" if number % 2 else "dog", "") for number in range(12)]
    path = write(home, rows)
    assert doctor(str(path), True, fix=tmp_path / "clean.csv") == 0
    assert len(read_table(tmp_path / "clean.csv").samples) == 12
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert caught.value.what.startswith("12 of the 12 files that the table lists are not there: ")
    assert f"; there is no such file, but one with {rule}; `graft doctor " in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("nowhere/{}.png", ""),
        (
            "https://host.org/{}.png",
            "; these are addresses, and graft downloads nothing: fetch the files, and name those",
        ),
        ("D:\\pets\\{}.png", "; these are paths of another machine: name the files relative to the table's folder"),
    ],
)
def test_a_table_whose_paths_all_fail_says_so_in_doctor_and_pipeline(
    images: Path, capsys: pytest.CaptureFixture[str], written: str, advice: str
) -> None:
    path = write(images, [(written.format(f"no_{row}"), "cat", "") for row in range(66)])
    named = ", ".join(f"{written.format(f'no_{row}')} (row {row + 1})" for row in range(5))
    what = f"66 of the 66 files that the table lists are not there: {named} and 61 more"
    remedy = "paths are relative to the table's folder; mend them or take the rows out" + advice
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value) == f"{what}\n  where: {path}\n  remedy: {remedy}"
    assert doctor(str(path), False) == 1
    said = capsys.readouterr().out
    assert f"expected that the data can be found, but {what} ({path})" in said
    assert f"remedy: {remedy}\n" in said


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_good_table_breaks_no_rule(images: Path, name: str) -> None:
    path = write(images, GOOD, name)
    assert broken(audit_table(path)) == {}
    assert read_table(path).samples == audit_table(path).samples


@pytest.mark.parametrize(
    ("heading", "wanted"),
    [
        ("file,class,split", {"file": "path", "class": "label"}),
        (" Path ,LABEL,Split", {" Path ": "path", "LABEL": "label", "Split": "split"}),
        ("path,lable,splt", {"lable": "label", "splt": "split"}),
    ],
)
def test_columns_by_another_name_are_renamed(images: Path, heading: str, wanted: dict[str, str]) -> None:
    path = write(images, GOOD)
    path.write_text(path.read_text().replace("path,label,split", heading))
    changes = broken(audit_table(path))["columns"].changes
    assert {change.before: change.after for change in changes} == wanted
    # Were it read, a column called Split that is passed over would let the test be trained on.
    with pytest.raises(DataError, match="the table has no column"):
        read_table(path)


def test_other_columns_are_facts_of_the_images_and_stay_in_a_cleaned_copy(images: Path) -> None:
    path = write(images, GOOD)
    frame = pd.read_csv(path)
    frame.assign(camera=[f"no. {row}" for row in range(len(frame))], night=["yes", "", "no", "no"]).to_csv(
        path, index=False
    )
    found = audit_table(path)
    assert broken(found) == {}
    facts = {sample.source: dict(sample.facts) for sample in found.samples}
    assert facts == {
        source: {"camera": f"no. {row}", "night": night}
        for row, (source, night) in enumerate(zip(frame["path"], ["yes", "", "no", "no"], strict=True))
    }
    out = images.parent / "clean.csv"
    write_cleaned_copy(found, {}, out)
    assert {"camera", "night"} <= set(pd.read_csv(out).columns)
    table = ingested_table({sample.source: sample for sample in found.samples})
    assert table.set_index("source").loc[frame["path"][0], "camera"] == "no. 0"


def test_missing_values_of_any_type_are_empty_text(images: Path) -> None:
    path = images / "table.parquet"
    frame = pd.DataFrame(GOOD, columns=["path", "label", "split"])
    frame["age"] = pd.Series([3, None, 5, None], dtype="Int64")
    frame["weight"] = [0.5, None, 2.0, None]
    frame.to_parquet(path)
    facts = [dict(sample.facts) for sample in read_table(path).samples]
    assert [(each["age"], each["weight"]) for each in facts] == [("3", "0.5"), ("", ""), ("5", "2.0"), ("", "")]


def test_a_column_with_a_name_of_grafts_own_is_not_read_and_a_warning(images: Path) -> None:
    path = write(images, GOOD)
    frame = pd.read_csv(path).assign(brightness="x", source="y", camera="z")
    frame.to_csv(path, index=False)
    (problem,) = broken(audit_table(path)).values()
    assert (problem.check, problem.severity) == ("known_columns", "warning")
    assert [change.before for change in problem.changes] == ["brightness", "source"]
    assert [sample.facts for sample in read_table(path).samples] == [(("camera", "z"),)] * 4


@pytest.mark.parametrize("separator", [";", "\t"])
def test_columns_separated_otherwise_are_a_finding(images: Path, separator: str) -> None:
    path = write(images, GOOD)
    path.write_text(path.read_text().replace(",", separator))
    assert len(audit_table(path).samples) == 4
    with pytest.raises(DataError, match="the table's columns are not separated by commas"):
        read_table(path)


def test_no_row_to_train_on_is_left_to_the_user(images: Path) -> None:
    path = write(images, [(file, label, "test") for file, label, _ in GOOD])
    found = broken(audit_table(path))
    assert (list(found), found["train_rows"].by_hand, found["train_rows"].changes) == (["train_rows"], True, ())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Cat", "cat ", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("tree\u00a0frog", "Tree  frog", True),
        ("cat\u200b", "cat", True),
        ("\ufeffcat", "cat", True),
        # A single character is a glyph, and these are two.
        ("a", "A", False),
        ("a ", "a", True),
        ("m2", "m²", False),
        ("Masse", "Maße", False),
        ("cat", "cats", False),
    ],
)
def test_which_labels_are_one(one: str, other: str, same: bool) -> None:
    assert (label_key(one) == label_key(other)) is same


def test_the_most_frequent_spelling_is_taken(images: Path) -> None:
    labels = ["CAT", "Cat", "Cat ", "cat", "dog", "dog"]
    files = [f"{name}/{name}_{number:03d}.png" for name in ("cat", "dog") for number in range(3)]
    path = write(images, [(file, label, "train") for file, label in zip(files, labels, strict=True)])
    assert [item.label for item in audit_table(path).samples] == ["Cat", "Cat", "Cat", "Cat", "dog", "dog"]


labels = st.sampled_from(["cat", "Cat", "cat ", "dog", "", "a", "A", "caf\u00e9", "cafe\u0301", "nan", "\u200b"])
paths = st.sampled_from([file for file, _, _ in GOOD] + ["", "./cat/cat_000.png", "CAT/cat_001.png", "none.png", "cat"])
splits = st.sampled_from(["train", "test", "val", "", "tset", "zzz", "TRAIN "])


@given(rows=st.lists(st.tuples(paths, labels, splits), min_size=1, max_size=12))
def test_a_cleaned_table_breaks_no_rule_and_a_good_row_is_never_lost(images: Path, rows: list[Row]) -> None:
    cleaned, _ = check_rows(pd.DataFrame(rows, columns=["path", "label", "split"], dtype="str"), images)
    kept = set(cleaned.index)
    assert all(problem.met for problem in check_rows(cleaned.reset_index(drop=True), images)[1])
    for row, (file, label, split) in enumerate(rows):
        alone = sum((images / other).resolve() == (images / file).resolve() for other, _, _ in rows) == 1
        twin = any(other.lower().removeprefix("./") == file for place, (other, _, _) in enumerate(rows) if place != row)
        if file in {name for name, _, _ in GOOD} and alone and not twin and label == "dog" and split == "train":
            assert row in kept


@given(label=st.text(max_size=8))
def test_tidying_is_done_once_and_never_makes_another_label(label: str) -> None:
    assert tidy(tidy(label)) == tidy(label)
    assert unicodedata.is_normalized("NFC", tidy(label))
    assert label_key(tidy(label)) == label_key(label) == label_key(label_key(label))


def messy(folder: Path, name: str = "table.csv") -> Path:
    """A table with a fault of every kind, and images with faults besides."""
    write_classes(folder, {"cat": 14, "dog": 14})
    (folder / "dog" / "dog_012.png").write_bytes(b"")
    (folder / "dog" / "dog_013.png").write_bytes((folder / "cat" / "cat_013.png").read_bytes())
    picture(4711).save(folder / "cat" / "line\nbreak, and comma.png")
    files = [f"cat/cat_{number:03d}.png" for number in range(14)] + [
        f"dog/dog_{number:03d}.png" for number in range(14)
    ]
    rows = {file: [file, file[:3], "train"] for file in files}
    rows["cat/cat_000.png"][1] = "Cat "
    rows["cat/cat_001.png"][1] = ""
    rows["cat/cat_002.png"][0] = "cat/CAT_002.png"
    rows["dog/dog_000.png"][2] = "tets"
    rows["dog/dog_001.png"][2] = "unsure"
    rows["cat/cat_003.png"][2] = rows["cat/cat_004.png"][2] = rows["dog/dog_003.png"][2] = "test"
    listed = [*rows.values(), ["cat/line\nbreak, and comma.png", "cat", "train"], ["gone.png", "cat", "train"]]
    listed += [["cat/cat_005.png", "cat", "train"], ["dog/dog_005.png", "cat", "train"]]
    frame = pd.DataFrame(listed, columns=["path", "lable", "split"]).assign(brightness="x", group=None)
    frame.to_csv(folder / name, index=False) if name.endswith("csv") else frame.to_parquet(folder / name)
    return folder / name


def state(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def in_process(table: Path, out: Path) -> tuple[int, str]:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = doctor(str(table), True, fix=out)
    return code, said.getvalue()


def by_command(table: Path, out: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "graft.cli.main", "doctor", str(table), "--json", "--fix", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize(("name", "run"), [("table.csv", by_command), ("table.parquet", in_process)])
def test_the_command_writes_a_clean_copy_and_its_log(
    tmp_path: Path, name: str, run: Callable[[Path, Path], tuple[int, str]]
) -> None:
    table = messy(tmp_path / "data", name)
    before = state(tmp_path / "data")
    out = tmp_path / "elsewhere" / "deep" / f"clean{table.suffix}"
    code, printed = run(table, out)
    said = json.loads(printed)
    assert {item["check"] for item in said["findings"] if not item["success"]} == {
        *("columns", "known_columns", "file_there", "row_label", "label_spelling", "listed_once", "known_split"),
        *("decodable", "label_conflict", "duplicates"),
    }
    assert said["refused"] is True
    assert said["cleaned"]["refused"] is False
    assert code == 0
    assert state(tmp_path / "data") == before, "the original was touched"
    read = pd.read_csv if table.suffix == ".csv" else pd.read_parquet
    clean = read(out)
    assert list(clean.columns) == ["path", "label", "split"]
    assert all((out.parent / path).is_file() for path in clean["path"])
    files = {(out.parent / path).resolve().name: (label, split) for path, label, split in clean.values.tolist()}
    expected = {f"{kind}_{number:03d}.png": (kind, "train") for kind in ("cat", "dog") for number in range(14)}
    expected["line\nbreak, and comma.png"] = ("cat", "train")
    for gone in ("cat_001", "cat_013", "dog_001", "dog_005", "dog_012", "dog_013"):
        del expected[f"{gone}.png"]
    for tested in ("cat_003", "cat_004", "dog_000", "dog_003"):
        expected[f"{tested}.png"] = (tested[:3], "test")
    assert files == expected
    # Whoever runs it on the copy finds nothing, and the pipeline takes it.
    assert not any(not finding.success for finding in audit_path(str(out), DEFAULTS).findings)
    assert len(read_table(out).samples) == len(expected)
    log = list(csv.DictReader(io.StringIO(Path(said["cleaned"]["log"]).read_text(encoding="utf-8"))))
    assert Path(said["cleaned"]["log"]) == out.with_suffix(".changes.csv")
    assert len(log) == said["cleaned"]["changes"]
    assert {"row": "1", "before": "Cat ", "after": "cat", "check": "label_spelling"}.items() <= next(
        line for line in log if line["column"] == "label"
    ).items()
    assert {line["check"] for line in log} >= {"columns", "image", "listed_once", "known_split", "file_there"}
    assert sum(line["after"] == "left out" and line["column"] == "" for line in log) == said["cleaned"]["total"] - len(
        files
    )


@pytest.mark.parametrize("taken", ["clean.csv", "clean.changes.csv"])
def test_nothing_is_written_over(tmp_path: Path, taken: str, make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"cat": 10, "dog": 10})
    (tmp_path / taken).write_text("mine")
    with pytest.raises(DataError, match="this is already there, and is not written over"):
        doctor(str(folder), False, fix=tmp_path / "clean.csv")
    assert (tmp_path / taken).read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["images", taken])


def test_the_original_is_never_the_target_nor_is_a_link(tmp_path: Path) -> None:
    table = messy(tmp_path)
    before = table.read_bytes()
    (tmp_path / "link.csv").symlink_to("nowhere.csv")
    for target in (table, tmp_path / "link.csv"):
        with pytest.raises(DataError, match="already there"):
            doctor(str(table), False, fix=target)
    assert table.read_bytes() == before


@pytest.mark.parametrize("name", ["clean", "clean.txt", "clean.csv.gz"])
def test_the_copy_has_a_tables_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="this is no table's name"):
        doctor(str(tmp_path), False, fix=tmp_path / name)


def test_of_a_folder_a_table_of_the_good_files_is_written(
    make_classes: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_classes({"train/cat": 12, "train/dog": 12, "test/cat": 3, "test/dog": 3})
    (folder / "train/cat/bad.png").write_bytes(b"x")
    (folder / "train/dog/notes.txt").write_text("x")
    assert doctor(str(folder), False, fix=tmp_path / "clean.csv") == 0
    said = capsys.readouterr().out
    assert "30 of 31 images" in said and "lists the 2 changes" in said
    assert "Training on the cleaned copy would go ahead: 24 images to train on, 6 to test on." in said
    assert "That is how the data comes divided" in said
    clean = pd.read_csv(tmp_path / "clean.csv")
    assert clean["split"].value_counts().to_dict() == {"train": 24, "test": 6}
    assert "images/train/cat/bad.png" not in set(clean["path"])
    log = (tmp_path / "clean.changes.csv").read_text().splitlines()
    assert log[1].startswith(",train/cat/bad.png,,,left out,image,")
    assert log[2] == ",train/dog/notes.txt,,,left out,passed_over,not an image by its name"


def test_a_copy_behind_a_link_still_finds_its_images(tmp_path: Path, make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"cat": 10, "dog": 10})
    (tmp_path / "far" / "away" / "real").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/away/real")
    assert doctor(str(folder), True, fix=tmp_path / "link" / "clean.csv") == 0
    assert len(read_table(tmp_path / "link" / "clean.csv").samples) == 20
    assert len(read_table(tmp_path / "far" / "away" / "real" / "clean.csv").samples) == 20


def test_paths_that_go_up_through_a_link_are_those_of_the_file_system(tmp_path: Path) -> None:
    write_classes(tmp_path / "far" / "images", {"cat": 10, "dog": 10})
    (tmp_path / "far" / "tables").mkdir()
    (tmp_path / "link").symlink_to("far/tables")
    files = [f"{name}/{name}_{number:03d}.png" for name in ("cat", "dog") for number in range(10)]
    # `..` of a link is the folder above what it leads to; taken as text it would be tmp_path.
    table = write(tmp_path / "link", [(f"../images/{file}", file[:3], "") for file in files])
    assert doctor(str(table), True, fix=tmp_path / "clean.csv") == 0
    assert set(pd.read_csv(tmp_path / "clean.csv")["path"]) == {f"far/images/{file}" for file in files}


def test_what_no_copy_can_mend_still_refuses(
    make_classes: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_classes({"cat": 10, "few": 2})
    assert doctor(str(folder), False, fix=folder.parent / "clean.csv") == 1
    said = capsys.readouterr().out
    assert "Still critical in the copy: images_per_class." in said
    assert "Training on the cleaned copy would be refused." in said


def test_built_in_data_has_nothing_to_clean(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is nothing to clean"):
        write_cleaned_copy(SourceListing(()), {}, tmp_path / "clean.csv")
    assert list(tmp_path.iterdir()) == []


def test_classes_that_differ_only_in_case_are_a_warning(make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"Cat": 10, "cat": 10, "a": 10, "A": 10})
    findings = {item.check: item for item in audit_path(str(folder), DEFAULTS).findings}
    assert not findings["class_names"].success
    assert [item.value for item in findings["class_names"].failing] == ["classes 'Cat' and 'cat'"] * 2


def printed(found: Any, terminal: bool) -> list[str]:
    stream = io.StringIO()
    print_audit(
        found,
        Console(file=stream, width=80, force_terminal=terminal, no_color=True, highlight=False, soft_wrap=True),
    )
    return stream.getvalue().splitlines()


def test_on_a_terminal_prose_keeps_to_its_width_and_names_are_never_broken(tmp_path: Path) -> None:
    table = messy(tmp_path)
    long = "a name that goes on and on, " * 5 + ".png"
    (tmp_path / "cat" / long).write_bytes(b"")
    with table.open("a") as file:
        file.write(f'"cat/{long}",cat,train,x,\n')
    found = audit_path(str(table), DEFAULTS)
    lines = [line.replace("\x1b[0m", "").replace("\x1b[1m", "").replace("\x1b[2m", "") for line in printed(found, True)]
    # The heading names the table, and where a test's folder lies is no affair of this one.
    assert {line for line in lines if len(line) > 80 and str(table) not in line} == {f"    cat/{long}"}
    piped = printed(found, False)
    assert max(map(len, piped)) > 120, "what goes into a pipe keeps a statement on a line"
