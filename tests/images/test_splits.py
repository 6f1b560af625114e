"""Splits: no group straddles, folds divide the training images, proportions hold, and refusals name the class."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.config import Params, parse_params
from graft.errors import DataError
from graft.images.splits import make_splits


def settings_with(folds: int = 3, seed: int = 0, **data: Any) -> Params:
    candidates = [{"arch": "resnet18"}]
    return parse_params(
        {"seed": seed, "zoo": {"candidates": candidates}, "data": data, "select": {"folds": folds}}, "test"
    )


def manifest(counts: dict[str, int], split: dict[str, str] | None = None, **columns: Any) -> pd.DataFrame:
    """A manifest in which every image is unlike, but for what ``columns`` says."""
    paths = [f"{label}/{number}.png" for label, count in counts.items() for number in range(count)]
    table = pd.DataFrame({"path": paths, "label": [path.split("/")[0] for path in paths]})
    table["split"] = [split.get(path) if split else None for path in paths]
    table["group"], table["phash"], table["problems"] = None, None, None
    table["pixel_sha256"] = [f"pixels of {path}" for path in paths]
    return table.astype("str").assign(**columns)


def counted(table: pd.DataFrame) -> dict[tuple[str, str], int]:
    return dict(Counter(zip(table["split"], table["label"], strict=True)))


def test_a_fraction_of_every_class_is_tested() -> None:
    table = make_splits(manifest({"a": 50, "b": 20}), settings_with(test_fraction=0.2))
    assert counted(table) == {("train", "a"): 40, ("test", "a"): 10, ("train", "b"): 16, ("test", "b"): 4}
    assert table.columns.tolist() == ["path", "label", "split", "fold", "group"]
    assert table["path"].is_monotonic_increasing
    assert (table["fold"] == -1).equals(table["split"] == "test")


def test_a_number_per_class_is_trained_on_and_all_the_rest_tested() -> None:
    table = make_splits(manifest({"a": 50, "b": 20}), settings_with(train_per_class=6))
    assert counted(table) == {("train", "a"): 6, ("test", "a"): 44, ("train", "b"): 6, ("test", "b"): 14}
    folds = table[table["split"] == "train"].groupby(["fold", "label"]).size()
    assert folds.tolist() == [2] * 6


def given_split(test: int = 3) -> dict[str, str]:
    return {f"{label}/{number}.png": "test" if number < test else "train" for label in "ab" for number in range(12)}


def test_a_given_test_split_is_honoured_exactly() -> None:
    table = make_splits(manifest({"a": 12, "b": 12}, given_split()), settings_with(test_fraction=0.5))
    assert dict(zip(table["path"], table["split"], strict=True)) == given_split()


def test_with_a_given_split_all_of_its_training_images_are_used() -> None:
    table = make_splits(manifest({"a": 12, "b": 12}, given_split()), settings_with(train_per_class=4))
    assert counted(table) == {("train", "a"): 9, ("test", "a"): 3, ("train", "b"): 9, ("test", "b"): 3}


def test_where_a_given_split_straddles_a_copy_the_training_copy_is_left_out() -> None:
    rows = manifest({"a": 12, "b": 12}, given_split())
    rows.loc[rows["path"] == "a/11.png", "pixel_sha256"] = rows.loc[rows["path"] == "a/0.png", "pixel_sha256"].item()
    table = make_splits(rows, settings_with())
    assert set(rows["path"]) - set(table["path"]) == {"a/11.png"}


def test_undecodable_files_are_left_out() -> None:
    rows = manifest({"a": 12, "b": 12})
    rows.loc[0, "problems"] = "damaged"
    assert set(rows["path"]) - set(make_splits(rows, settings_with())["path"]) == {"a/0.png"}


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    rows = manifest({"a": 30, "b": 30})
    first = make_splits(rows, settings_with())
    pd.testing.assert_frame_equal(
        first, make_splits(rows.sample(frac=1, random_state=1, ignore_index=True), settings_with())
    )
    assert not first["split"].equals(make_splits(rows, settings_with(seed=1))["split"])


def test_adding_images_moves_few_and_a_number_per_class_moves_none_from_test_to_train() -> None:
    params = settings_with(train_per_class=10)
    before = make_splits(manifest({"a": 40, "b": 40}), params).set_index("path")["split"]
    after = make_splits(manifest({"a": 60, "b": 45}), params).set_index("path")["split"][before.index]
    assert not ((before == "test") & (after == "train")).any()


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 4, 7]), st.floats(0.1, 0.5), st.integers(0, 100))
def test_no_group_straddles_folds_divide_and_proportions_hold(
    data_seed: int, number: int | None, fraction: float, seed: int
) -> None:
    rng = np.random.default_rng(data_seed)
    rows = manifest({label: int(rng.integers(20, 60)) for label in "abc"[: rng.integers(2, 4)]})
    # Groups of up to four images, a few across classes, and a few exact copies within a class.
    rows["group"] = pd.Series(
        [f"g{value}" if value < 40 else None for value in rng.integers(0, 120, len(rows))], dtype="str"
    )
    params = settings_with(test_fraction=fraction, train_per_class=number, seed=seed)
    table = make_splits(rows, params)
    assert (table.groupby("group")["split"].nunique() == 1).all()
    assert (table.groupby("group")["fold"].nunique() == 1).all()
    user = table.merge(rows[["path", "group"]], on="path", suffixes=("", "_user"))
    assert (user.groupby("group_user")["fold"].nunique() == 1).all()
    assert sorted(table["path"]) == sorted(rows["path"])
    train = table[table["split"] == "train"]
    assert set(train["fold"]) == {0, 1, 2}
    assert (train.groupby("label")["fold"].nunique() == 3).all()
    largest = table.groupby("group").size().max()
    for label, count in rows["label"].value_counts().items():
        trained = int((train["label"] == label).sum())
        if number is not None:
            assert number - largest < trained <= number + largest
        else:
            assert abs((count - trained) - round(fraction * count)) <= largest


@pytest.mark.parametrize(
    ("rows", "data", "what", "remedy"),
    [
        (manifest({"a": 9}), {}, "there is only one class, 'a'", "add a folder with images of the other"),
        (manifest({}), {}, "there are no images that can be decoded", "add a folder"),
        (
            manifest({"a": 9, "b": 3}),
            {},
            "class 'b' has 2 training images, fewer than the 3 folds",
            "add images of it, or set select.folds to 2 or less",
        ),
        (
            manifest({"a": 9, "b": 1}),
            {},
            "class 'b' has 1 training image, fewer than the 3 folds",
            "take the class out",
        ),
        (
            manifest({"a": 9, "b": 5}),
            {"train_per_class": 5},
            "class 'b' has 5 images, so 5 for training leave none to test",
            "set it to 4 or less, add images, or set it to null",
        ),
        (
            manifest({"a": 12, "b": 12, "c": 1}, given_split() | {"c/0.png": "test"}),
            {},
            "class 'c' is in the test split but has no training image",
            "add training images of it, or take its test images out",
        ),
        (
            manifest({"a": 9, "b": 9}, group=["g"] * 9 + ["h"] * 4 + ["i"] * 5),
            {},
            "class 'a' has 9 training images in 1 group, fewer than the 3 folds",
            "add images of it, or take the class out",
        ),
    ],
)
def test_what_cannot_be_divided_is_refused(rows: pd.DataFrame, data: dict[str, Any], what: str, remedy: str) -> None:
    with pytest.raises(DataError) as caught:
        make_splits(rows, settings_with(**data))
    assert caught.value.what == what
    assert remedy in str(caught.value.remedy)
