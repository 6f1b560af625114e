"""Ways in: every kind of source, what is passed over, and what is refused and how that is said."""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from graft.core.errors import DataError
from graft.data.sources.listing import SourceListing, SourceSpec
from graft.data.sources.registry import list_source
from tests.conftest import picture, write_classes


def find(source: Path | str, root: Path | None = None) -> SourceListing:
    return list_source(SourceSpec(str(source), root or Path(), Path("/nonexistent")))


def why(found: SourceListing) -> dict[str, str]:
    return {item.path: item.why for item in found.skipped}


def test_class_folders(make_classes: Callable[..., Path]) -> None:
    found = find(make_classes({"cat": 3, "dog": 2}))
    assert Counter((item.label, item.split, item.group) for item in found.samples) == {
        ("cat", None, None): 3,
        ("dog", None, None): 2,
    }
    assert found.samples[0].source == "cat/cat_000.png"


def test_images_in_folders_below_a_class_belong_to_it(make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"cat/indoors": 2, "cat/outdoors": 1, "dog": 1})
    assert Counter(item.label for item in find(folder).samples) == {"cat": 3, "dog": 1}


def test_debris_is_passed_over_and_said_to_be(make_classes: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_classes({"cat": 1, "dog": 1, "empty": 0, ".ipynb_checkpoints": 1, "__MACOSX": 1})
    (folder / "loose.png").write_bytes(b"")
    (folder / "cat" / "Thumbs.db").write_bytes(b"")
    (folder / "cat" / "notes.txt").write_text("x")
    (folder / "cat" / ".hidden.png").write_bytes(b"")
    (folder / "cat" / "dangling.png").symlink_to("nowhere")
    (folder / "cat" / "loop").symlink_to(folder)
    (tmp_path / "outside.png").write_bytes(b"")
    (folder / "cat" / "out.png").symlink_to(tmp_path / "outside.png")
    os.mkfifo(folder / "dog" / "pipe.png")
    found = find(folder)
    assert [item.source for item in found.samples] == ["cat/cat_000.png", "dog/dog_000.png"]
    assert why(found) == {
        ".ipynb_checkpoints": "hidden",
        "__MACOSX": "left by a file manager or archiver",
        "loose.png": "not in a class folder",
        "empty": "a class folder without images",
        "cat/.hidden.png": "hidden",
        "cat/Thumbs.db": "left by a file manager or archiver",
        "cat/notes.txt": "not an image by its name",
        "cat/dangling.png": "a link that leads nowhere",
        "cat/loop": "a link to a folder, which is not followed",
        "cat/out.png": "a link that leads out of the data folder",
        "dog/pipe.png": "neither a file nor a folder",
    }


def test_a_line_break_in_a_name_is_printed_as_an_escape(make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"cat": 1, "dog": 0})
    picture(5).save(folder / "dog" / "a\n😀 b.png")
    sample = find(folder).samples[1]
    assert (sample.source, sample.file.name) == ("dog/a\\n😀 b.png", "a\n😀 b.png")


def test_a_name_that_is_not_utf_8_is_passed_over(make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"cat": 1, "dog": 1})
    with open(os.fsencode(folder / "cat") + b"/\xff.png", "wb"):  # noqa: PTH123 - the name is bytes
        pass
    assert why(find(folder)) == {"cat/\\udcff.png": "its name is not valid UTF-8"}


@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev", "Val"])
def test_val_is_the_test_where_there_is_no_test(make_classes: Callable[..., Path], val: str) -> None:
    found = find(make_classes({"train/cat": 2, "train/dog": 2, f"{val}/cat": 1, f"{val}/dog": 1}))
    assert Counter(item.split for item in found.samples) == {"train": 4, "test": 2}
    assert {item.label for item in found.samples} == {"cat", "dog"}


def test_val_joins_train_where_there_is_a_test(make_classes: Callable[..., Path]) -> None:
    found = find(make_classes({"train/cat": 2, "val/cat": 3, "test/cat": 1, "extra/cat": 1}))
    assert Counter(item.split for item in found.samples) == {"train": 5, "test": 1}
    assert why(found) == {"extra": "not a split folder"}


def test_a_test_folder_without_class_folders_has_no_labels(make_classes: Callable[..., Path]) -> None:
    found = find(make_classes({"train/cat": 2, "val/cat": 1, "test": 1}))
    assert Counter(item.split for item in found.samples) == {"train": 2, "test": 1}
    assert why(found) == {"test": "not a split folder"}


def test_stray_files_beside_class_folders_make_no_class_of_a_split(make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"train/cat": 2, "train/dog": 2, "test/cat": 1, "test/dog": 1})
    (folder / "train" / "README.txt").write_text("x")
    (folder / "test" / "labels.csv").write_text("x")
    (folder / "test" / "Thumbs.db").write_text("x")
    found = find(folder)
    assert Counter(item.split for item in found.samples) == {"train": 4, "test": 2}
    assert why(found) == {
        "train/README.txt": "not an image by its name",
        "test/labels.csv": "not an image by its name",
        "test/Thumbs.db": "left by a file manager or archiver",
    }


def test_what_could_be_a_split_or_a_class_is_refused(make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"train/cat": 2, "train/dog": 2, "test/cat": 1, "train": 1})
    with pytest.raises(DataError, match="the folder 'train' holds both folders and loose images") as caught:
        find(folder)
    assert caught.value.where == str(folder)


def test_a_class_called_train_may_hold_folders_of_images(make_classes: Callable[..., Path]) -> None:
    found = find(make_classes({"train": 1, "train/steam": 2, "test": 2, "car": 1}))
    assert Counter((item.label, item.split) for item in found.samples) == {
        ("train", None): 3,
        ("test", None): 2,
        ("car", None): 1,
    }


def test_the_folder_that_an_archive_was_packed_in_is_not_taken_for_a_class(make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"pets/train/cat": 1, "pets/train/dog": 1, "pets/test/cat": 1, "__MACOSX": 1})
    with pytest.raises(DataError, match="the only folder here is 'pets', and it holds folders, not images") as caught:
        find(folder)
    assert caught.value.remedy == f"name the inner folder instead: {folder / 'pets'}"


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", "__MACOSX", ".hidden", "@eaDir"])
def test_hidden_folders_are_no_classes_at_any_depth(make_classes: Callable[..., Path], hidden: str) -> None:
    kept = {"train/cat": 2, "train/dog": 2, "test/cat": 1, "test/dog": 1}
    folder = make_classes({**kept, hidden: 1, f"train/{hidden}": 1, f"train/cat/{hidden}": 1, f"{hidden}/train/x": 1})
    found = find(folder)
    assert {item.label for item in found.samples} == {"cat", "dog"}
    assert len(found.samples) == 6
    assert set(why(found)) == {hidden, f"train/{hidden}", f"train/cat/{hidden}"}


def test_a_test_folder_without_a_train_folder_is_refused(make_classes: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="a folder 'test' with class folders in it, but no folder 'train'"):
        find(make_classes({"test/cat": 1, "images/cat": 1}))


def table(folder: Path, rows: list[dict[str, object]], name: str = "table.csv") -> Path:
    folder.mkdir(exist_ok=True)
    for row in rows:
        if row.get("path"):
            picture(len(str(row["path"]))).save(folder / str(row["path"]))
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / name, index=False) if name.endswith("csv") else frame.to_parquet(folder / name)
    return folder / name


ROWS: list[dict[str, object]] = [
    {"path": "a.png", "label": 1, "split": "train", "group": "p1", "note": "x"},
    {"path": "b.png", "label": 2, "split": "dev", "group": None, "note": "x"},
]


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_table_gives_labels_splits_and_groups(tmp_path: Path, name: str) -> None:
    found = find(table(tmp_path / "t", ROWS, name))
    assert [(item.source, item.label, item.split, item.group) for item in found.samples] == [
        ("a.png", "1", "train", "p1"),
        ("b.png", "2", "test", None),
    ]
    assert (found.watched, found.table) == (tmp_path / "t", tmp_path / "t" / name)


def test_a_table_written_by_a_spreadsheet_has_a_byte_order_mark(tmp_path: Path) -> None:
    path = table(tmp_path / "t", ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(find(path).samples) == 2


@pytest.mark.parametrize(
    ("change", "what", "remedy"),
    [
        (lambda text: text.replace("label", "lable"), "the table has no column 'label'", "rename 'lable' to 'label'"),
        (
            lambda text: text.replace("a.png", "c.png"),
            "1 of the 2 files that the table lists are not there: c.png (row 1)",
            "paths",
        ),
        (
            lambda text: text.replace("a.png", ""),
            "1 of the 2 rows name no file: (empty) (row 1)",
            "fill in the column path",
        ),
        (
            lambda text: text.replace("b.png", "./a.png"),
            "the table lists a file twice: a.png (row 1), ./a",
            "keep one row",
        ),
        (
            lambda text: text.replace("dev", ""),
            "1 of the 2 rows have a split that is not train, val or test: b.png (row 2)",
            "every row must say",
        ),
        (
            lambda text: text.replace("dev", "tset"),
            "1 of the 2 rows have a split that is not train, val or test: 'tset' (row 2)",
            "--fix OUT.csv` writes a cleaned copy",
        ),
        (lambda text: text.replace("train", "test"), "no row of the table has the split 'train'", "mark the rows"),
        (lambda text: "", "the table is empty", "it needs the columns path and label"),
        (lambda text: 'path,label\n"a,b\n', "the table cannot be read:", "save it again as UTF-8 CSV"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, change: Callable[[str], str], what: str, remedy: str) -> None:
    path = table(tmp_path / "t", ROWS)
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError) as caught:
        find(path)
    assert caught.value.what.startswith(what)
    assert caught.value.where == str(path)
    assert remedy in str(caught.value.remedy)


def test_relative_sources_start_at_the_root(make_classes: Callable[..., Path], tmp_path: Path) -> None:
    make_classes({"cat": 1, "dog": 1})
    assert len(find("images", root=tmp_path).samples) == 2


def test_a_missing_source_names_what_is_like_it(make_classes: Callable[..., Path], tmp_path: Path) -> None:
    make_classes({"cat": 1})
    with pytest.raises(DataError) as caught:
        find("imags", root=tmp_path)
    assert caught.value.message() == (
        f"there is no such folder or table\n  where: {tmp_path / 'imags'}\n"
        "  remedy: name what is there (data.source, or the command's argument); did you mean 'images' or 'digits'?"
    )


def test_an_empty_folder_is_refused_with_what_was_passed_over(tmp_path: Path) -> None:
    write_classes(tmp_path / "images", {"cat": 0})
    with pytest.raises(
        DataError, match=r"no labelled images here; passed over:\n    cat: a class folder without images"
    ):
        find(tmp_path / "images")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"")
    with pytest.raises(DataError, match="this file is not a kind of source that graft reads"):
        find(tmp_path / "images.zip")


def test_the_built_in_digits_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    first = list_source(SourceSpec("digits", tmp_path, tmp_path / "1"))
    second = list_source(SourceSpec("digits", tmp_path, tmp_path / "2"))
    assert len(first.samples) == 1797
    assert sorted({item.label for item in first.samples}) == [str(digit) for digit in range(10)]
    assert all(a.file.read_bytes() == b.file.read_bytes() for a, b in zip(first.samples, second.samples, strict=True))
    assert first.samples[0].source == "0/digit_0000.png"
    assert first.watched is None


def test_an_unreadable_folder_is_said_to_be(make_classes: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests may run as root, whom no permission stops; so the failure is made by hand.
    folder = make_classes({"cat": 1, "dog": 1})
    scan = os.scandir

    def refuse(path: object) -> object:
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied")
        return scan(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", refuse)
    assert why(find(folder)) == {"dog": "cannot be listed: Permission denied"}


def flat(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / name)
    return folder


PETS = tuple(f"train/{kind}.{number}.png" for kind in ("cat", "dog") for number in range(2))
OTHERWISE = "; or put a folder for each class into each of these"
USUAL = r"set data.label_from to '([^/]+?)[ ._(-]+\d+\)?\.\w+$', which finds 'cat', 'dog' in the files' names"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("names", "what", "remedy"),
    [
        (
            (*PETS, "test/1.png", "test/2.png"),
            "every class folder is called as a split is ('test', 'train'), so no class is named",
            USUAL + OTHERWISE,
        ),
        (
            ("Train/1.png", "valid/2.png"),
            "every class folder is called as a split is ('Train', 'valid'), so no class is named",
            "set data.label_from to a regular expression whose group is the label in a file's path" + OTHERWISE,
        ),
        (
            tuple(name.replace("train", "all") for name in PETS),
            "there is only one class folder, 'all', and its files are named by classes",
            USUAL + "; or put the images of each class into a folder of its own",
        ),
    ],
)
def test_folders_that_say_no_class_are_refused_with_what_they_need(
    tmp_path: Path, names: tuple[str, ...], what: str, remedy: str, packed: bool
) -> None:
    folder = source = flat(tmp_path / "images", *names)
    if packed:
        source = tmp_path / "packed"
        source.mkdir()
        with tarfile.open(source / "0.tar", "w") as tar:
            tar.add(folder, arcname=".")
    with pytest.raises(DataError) as caught:
        find(source)
    assert caught.value.message() == f"{what}\n  where: {source}\n  remedy: {remedy}"
    if USUAL in remedy:
        pattern = remedy.split("'")[1]
        found = list_source(SourceSpec(str(source), Path(), Path("/nonexistent"), label_from=pattern))
        assert [sample.label for sample in found.samples] == ["cat", "cat", "dog", "dog"]
        assert {sample.split for sample in found.samples} == {None}
        skipped = {item.path: item.why for item in found.skipped}
        assert skipped == {name: "data.label_from does not match its path" for name in names if name.startswith("test")}


def test_loose_images_alone_are_refused_with_the_pattern_of_their_names(tmp_path: Path) -> None:
    folder = flat(tmp_path / "images", *(name.removeprefix("train/") for name in PETS))
    with pytest.raises(DataError) as caught:
        find(folder)
    assert str(caught.value.remedy).startswith(USUAL + "; or data.source must hold a subfolder")
    assert (
        len(list_source(SourceSpec(str(folder), Path(), Path("/nonexistent"), label_from=USUAL.split("'")[1])).samples)
        == 4
    )


def test_a_pattern_finds_labels_in_split_folders_too(tmp_path: Path) -> None:
    folder = flat(tmp_path / "images", *PETS, "valid/cat.7.png", "test/dog.8.png")
    found = list_source(SourceSpec(str(folder), Path(), Path("/nonexistent"), label_from=r"([a-z]+)\.\d+\.png$"))
    assert {(sample.source, sample.label, sample.split) for sample in found.samples} == {
        *((name, name[6:9], "train") for name in PETS),
        ("valid/cat.7.png", "cat", "train"),
        ("test/dog.8.png", "dog", "test"),
    }
    assert found.watched == folder


def test_a_pattern_is_refused_where_the_source_says_its_labels(tmp_path: Path) -> None:
    path = table(tmp_path / "t", ROWS)
    with pytest.raises(DataError) as caught:
        list_source(SourceSpec(str(path), Path(), Path("/nonexistent"), label_from="(a)"))
    assert caught.value.message() == (
        f"data.label_from is for folders and tar files, and a source of the kind 'table' says its labels itself\n"
        f"  where: {path}\n  remedy: set data.label_from to null"
    )


def test_a_class_may_be_called_as_a_split_is_beside_others(make_classes: Callable[..., Path]) -> None:
    found = find(make_classes({"train": 2, "test": 1, "plane": 2}))
    assert Counter((item.label, item.split) for item in found.samples) == {
        ("train", None): 2,
        ("test", None): 1,
        ("plane", None): 2,
    }
