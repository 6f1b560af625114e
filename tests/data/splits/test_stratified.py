"""The stratified draw: shares of every class, whole groups, and sides that are kept whatever comes and goes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from graft.core.config import parse_params
from graft.core.errors import DataError
from graft.core.settings import Params
from graft.data.splits.history import SplitHistory, read_split_history, write_split_history
from graft.data.splits.splits import DataSplit, divide


class Image(NamedTuple):
    """What a division can depend on: images of the same ``pixels`` are copies, of the same ``group`` one patient's."""

    label: str
    pixels: int
    group: str | None = None


def params_of(folds: int = 3, seed: int = 0, **data: Any) -> Params:
    return parse_params(
        {"seed": seed, "zoo": {"candidates": ["resnet18"]}, "data": data, "select": {"folds": folds}}, "test"
    )


def manifest_of(images: Iterable[Image]) -> pd.DataFrame:
    table = pd.DataFrame(list(images), columns=list(Image._fields))
    return pd.DataFrame(
        {
            "path": [f"{image.label}/{number:05}.png" for number, image in enumerate(images)],
            "label": table["label"],
            "split": pd.Series([None] * len(table), dtype="str"),
            "group": table["group"].astype("str"),
            "phash": pd.Series([None] * len(table), dtype="str"),
            "problems": pd.Series([None] * len(table), dtype="str"),
            "pixel_sha256": [f"{pixels:064x}" for pixels in table["pixels"]],
        }
    )


def divided(images: list[Image], params: Params, history: SplitHistory | None = None) -> tuple[DataSplit, list[str]]:
    """The division, and for every image its side: train, test, or out where it is left out."""
    manifest = manifest_of(images)
    division = divide(manifest, params, history)
    sides = division.table.set_index("path")["split"]
    return division, [sides.get(path, "out") for path in manifest["path"]]


def history_of(division: DataSplit) -> SplitHistory:
    assert division.history is not None
    return division.history


def patients(rng: np.random.Generator, count: int) -> list[Image]:
    """X-rays: patients with one to twelve images each, nearly all of one class, 46:54 in all."""
    images: list[Image] = []
    for patient in range(count):
        label = "ill" if rng.random() < 0.46 else "well"
        for _ in range(int(rng.integers(1, 13))):
            images.append(Image(label, len(images), f"patient {patient}"))
    return images


@pytest.mark.parametrize("seed", range(10))
def test_the_test_of_x_rays_by_patient_has_the_shares_of_the_training(seed: int) -> None:
    images = patients(np.random.default_rng(seed), 60)
    _, sides = divided(images, params_of(5, seed))
    shares = {
        side: np.mean([image.label == "ill" for image, on in zip(images, sides, strict=True) if on == side])
        for side in ("train", "test")
    }
    assert abs(shares["test"] - shares["train"]) <= 0.03
    assert sides.count("test") == pytest.approx(0.2 * len(images), abs=2)


def test_classes_of_single_images_are_tested_to_the_image() -> None:
    images = [Image(label, 1000 * place + number) for place, label in enumerate("abcdefghij") for number in range(180)]
    _, sides = divided(images, params_of(5))
    assert [sides[180 * place : 180 * (place + 1)].count("test") for place in range(10)] == [36] * 10


def test_a_number_per_class_holds_to_the_image() -> None:
    images = [Image(label, 1000 * place + number) for place, label in enumerate("ab") for number in range(50 + place)]
    _, sides = divided(images, params_of(train_per_class=20))
    assert sides[:50].count("train") == sides[50:].count("train") == 20


# Copies and groups are common, links between groups are seldom, and every class has images that are free.
some = st.lists(
    st.builds(
        Image,
        label=st.sampled_from("ab"),
        pixels=st.integers(0, 400),
        group=st.one_of(st.none(), st.none(), st.sampled_from("ghijklmn")),
    ),
    min_size=0,
    max_size=40,
)
rules: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"train_per_class": st.integers(3, 8)}),
    st.fixed_dictionaries({"test_fraction": st.floats(0.1, 0.5)}),
)


def usable(images: list[Image]) -> list[Image]:
    """No copy has two labels, and both classes have enough single images for any rule."""
    label_of: dict[int, str] = {}
    for image in images:
        label_of.setdefault(image.pixels, image.label)
    singles = [Image(label, 1000 + 100 * place + number) for place, label in enumerate("ab") for number in range(25)]
    return singles + [image._replace(label=label_of[image.pixels]) for image in images]


@settings(max_examples=40)
@given(st.lists(some, min_size=2, max_size=4), st.data(), rules, st.integers(0, 2**31 - 1))
def test_no_group_straddles_and_nothing_ever_changes_sides(
    batches: list[list[Image]], data: st.DataObject, rule: dict[str, Any], seed: int
) -> None:
    history, tested, trained = None, set[int](), set[int]()
    images: list[Image] = []
    for batch in batches:
        gone = data.draw(st.sets(st.sampled_from(range(len(images))), max_size=10)) if images else set()
        images = [image for place, image in enumerate(images) if place not in gone] + batch
        shown = usable(images)
        # Another seed every time: it may not move anything either.
        params = params_of(3, data.draw(st.integers(0, 9)) + seed % 1000, **rule)
        try:
            division, sides = divided(shown, params, history)
        except DataError:  # new groups can link all training images of a class but two to what was tested
            reject()
        history = history_of(division)
        for attribute in ("pixels", "group"):
            found: dict[Any, set[str]] = {}
            for image, side in zip(shown, sides, strict=True):
                found.setdefault(getattr(image, attribute), set()).add(side)
            assert not any({"train", "test"} <= on for value, on in found.items() if value is not None)
        now = {
            on: {image.pixels for image, side in zip(shown, sides, strict=True) if side == on}
            for on in ("train", "test")
        }
        assert not tested & now["train"] and not trained & now["test"]
        # What is left out was trained on, and is now linked to what was tested.
        left_out = {image.pixels for image, side in zip(shown, sides, strict=True) if side == "out"}
        assert left_out <= trained
        tested, trained = tested | now["test"], trained | now["train"]


@settings(max_examples=40)
@given(some, rules, st.integers(0, 2**31 - 1), st.randoms(use_true_random=False))
def test_the_draw_is_the_same_in_any_order_and_a_second_time(
    images: list[Image], rule: dict[str, Any], seed: int, random: Any
) -> None:
    shown, params = usable(images), params_of(3, seed, **rule)
    first, sides = divided(shown, params)
    again, same = divided(shown, params, first.history)
    assert same == sides and again.history == first.history
    order = list(range(len(shown)))
    random.shuffle(order)
    _, shuffled = divided([shown[place] for place in order], params)
    assert shuffled == [sides[place] for place in order]


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(1, 6), min_size=12, max_size=30), min_size=2, max_size=4),
    st.floats(0.1, 0.5),
    st.integers(0, 2**31 - 1),
)
def test_each_share_is_within_half_a_group(sizes: list[list[int]], share: float, seed: int) -> None:
    """Of groups of one class each, a class misses its share by no more than half of the smallest that is trained on."""
    images = [
        Image(f"class {place}", 10_000 * place + 100 * group + number, f"{place} {group}")
        for place, groups in enumerate(sizes)
        for group, size in enumerate(groups)
        for number in range(size)
    ]
    _, sides = divided(images, params_of(3, seed, test_fraction=share))
    for place, groups in enumerate(sizes):
        on = {image.group: side for image, side in zip(images, sides, strict=True)}
        tested = sum(size for group, size in enumerate(groups) if on[f"{place} {group}"] == "test")
        smallest = min(size for group, size in enumerate(groups) if on[f"{place} {group}"] == "train")
        assert abs(tested - share * sum(groups)) <= smallest / 2 + 1e-9 or tested == 1


def singles(label: str, start: int, count: int) -> list[Image]:
    return [Image(label, start + number) for number in range(count)]


def test_what_is_added_fills_up_each_class_and_moves_nothing() -> None:
    before = singles("a", 0, 50) + singles("b", 100, 100)
    division, first = divided(before, params_of())
    after = before + singles("a", 1000, 50) + singles("c", 2000, 30)
    _, second = divided(after, params_of(), history_of(division))
    assert second[:150] == first
    assert [second[150:200].count("test"), second[200:].count("test")] == [10, 6]
    # One at a time they come to the same share.
    history = history_of(division)
    for number in range(1, 51):
        grown, sides = divided(before + singles("a", 1000, number), params_of(), history)
        history = history_of(grown)
    assert sides[150:].count("test") == 10


def test_an_image_that_comes_back_has_the_side_it_had() -> None:
    images = singles("a", 0, 50) + singles("b", 100, 50)
    division, sides = divided(images, params_of())
    fewer, _ = divided(images[10:], params_of(), history_of(division))
    _, again = divided(images, params_of(), history_of(fewer))
    assert again == sides


def test_a_new_image_of_a_tested_patient_is_tested_and_counted() -> None:
    images = [Image("ab"[patient % 2], 10 * patient, f"patient {patient}") for patient in range(40)]
    division, sides = divided(images, params_of())
    seen = images[sides.index("test")]
    new = Image(seen.label, 9999, seen.group)
    grown, now = divided([*images, new], params_of(), history_of(division))
    assert now[:-1] == sides and now[-1] == "test"
    assert dict(grown.pulled_in_by_group) == {seen.label: 1}


def test_what_was_trained_on_is_left_out_where_it_is_linked_to_what_was_tested() -> None:
    images = singles("a", 0, 30) + singles("b", 100, 30)
    division, sides = divided(images, params_of())
    tested, trained = sides.index("test"), sides.index("train")
    linked = list(images)
    for place in (tested, trained):
        linked[place] = images[place]._replace(group="one patient")
    _, now = divided(linked, params_of(), history_of(division))
    assert now[tested] == "test" and now[trained] == "out"
    assert [side for place, side in enumerate(now) if place != trained] == [
        side for place, side in enumerate(sides) if place != trained
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [({"test_fraction": 0.2}, {"test_fraction": 0.4}), ({"train_per_class": 30}, {"train_per_class": 10})],
)
def test_another_share_is_another_question_and_what_was_tested_comes_first(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    images = singles("a", 0, 50) + singles("b", 100, 60)
    small, first = divided(images, params_of(**before))
    large, second = divided(images, params_of(**after), history_of(small))
    tested = {place for place, side in enumerate(first) if side == "test"}
    more = {place for place, side in enumerate(second) if side == "test"}
    assert tested < more
    # And back: what is trained on now was tested before, for that was asked for.
    _, third = divided(images, params_of(**before), history_of(large))
    assert {place for place, side in enumerate(third) if side == "test"} < more
    assert not history_of(large).tested & history_of(large).trained


def test_data_that_comes_divided_and_the_stateless_draw_remember_nothing() -> None:
    images = singles("a", 0, 30) + singles("b", 100, 30)
    assert divide(manifest_of(images), params_of(split="hash")).history is None
    given = manifest_of(images)
    given["split"] = ["test" if number % 5 == 0 else "train" for number in range(60)]
    division = divide(given, params_of(), SplitHistory({}, frozenset(given["pixel_sha256"]), frozenset()))
    assert division.history is None and division.table["split"].tolist() == given["split"].tolist()


def test_the_stateless_draw_does_not_ask_what_was_before() -> None:
    images = singles("a", 0, 30) + singles("b", 100, 30)
    everything = SplitHistory({}, frozenset(manifest_of(images)["pixel_sha256"]), frozenset())
    params = params_of(split="hash")
    pd.testing.assert_frame_equal(
        divide(manifest_of(images), params, everything).table, divide(manifest_of(images), params).table
    )


def test_a_class_of_few_groups_gives_its_smallest() -> None:
    images = singles("a", 0, 40)
    images += [Image("b", 1000 + number, f"film {number // 10}") for number in range(20)]
    images += [Image("b", 2000 + number, "film 3") for number in range(4)]
    _, sides = divided(images, params_of(2))
    assert {image.group for image, side in zip(images[40:], sides[40:], strict=True) if side == "test"} == {"film 3"}


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    history = SplitHistory({"test_fraction": 0.2, "train_per_class": None}, frozenset({"aa", "bb"}), frozenset({"cc"}))
    write_split_history(tmp_path / "history.json", history)
    assert read_split_history(tmp_path / "history.json") == history
    first = (tmp_path / "history.json").read_bytes()
    write_split_history(tmp_path / "history.json", dataclasses.replace(history, tested=frozenset({"bb", "aa"})))
    assert (tmp_path / "history.json").read_bytes() == first
    assert read_split_history(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ('{"format": 2}', "its format is 2, not 1"),
        ("[]", "list indices must be integers or slices, not str"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "history.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_split_history(path)
    assert str(caught.value) == (
        f"the record of which images were tested is damaged: {why}\n  where: {path}\n"
        f"  remedy: `.venv/bin/dvc checkout {path}` brings the last one back; delete it, and the test is drawn anew"
    )
