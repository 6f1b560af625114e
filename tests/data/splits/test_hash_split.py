"""The draw: whatever is added, nothing tested is trained on later; shares hold within what chance allows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from graft.core.config import parse_params
from graft.core.settings import Params
from graft.data.near_duplicates import chain_equal, join
from graft.data.splits.hash_split import TestSplit, hash_split


class Image(NamedTuple):
    """What a draw can depend on: images of the same ``look`` are near copies, of the same ``pixels`` exact ones."""

    label: str
    pixels: int
    group: str | None = None
    look: int | None = None


def params_of(folds: int = 3, seed: int = 0, **data: Any) -> Params:
    return parse_params(
        {"seed": seed, "zoo": {"candidates": ["resnet18"]}, "data": data, "select": {"folds": folds}}, "test"
    )


def rows_of(images: Iterable[Image]) -> pd.DataFrame:
    table = pd.DataFrame(list(images), columns=list(Image._fields))
    return table.assign(
        fingerprint=[f"{pixels:064x}" for pixels in table["pixels"]], group=table["group"].astype("str")
    )


def drawn(images: Iterable[Image], params: Params) -> tuple[TestSplit, np.ndarray[Any, Any]]:
    """The draw and the groups, in which equal looks stand for what the perceptual hashes would find."""
    rows = rows_of(images)
    groups = join(len(rows), [chain_equal(rows[name]) for name in ("pixels", "group", "look")])
    return hash_split(rows, groups, params), groups


def unlike(count: int, label: str = "a", start: int = 0) -> list[Image]:
    return [Image(label, start + number) for number in range(count)]


def seldom(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.none(), st.none(), values)


# Copies, near copies, groups and links between them are common, but do not join everything.
images = st.builds(
    Image,
    label=st.sampled_from("ab"),
    pixels=st.integers(0, 80),
    group=seldom(st.sampled_from("ghijkl")),
    look=seldom(st.integers(0, 8)),
)
some_images = st.lists(images, min_size=10, max_size=40)
unlike_images = st.lists(
    st.builds(Image, st.sampled_from("ab"), st.integers(0, 10**6), st.none(), st.none()),
    min_size=2,
    max_size=40,
    unique_by=lambda image: image.pixels,
)
added_images = st.lists(images, min_size=1, max_size=30)
rules: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"train_per_class": st.integers(1, 6)}),
    st.fixed_dictionaries({"test_fraction": st.floats(0.1, 0.6)}),
)
# How long making examples takes says nothing about a draw.
examples = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
folds_and_seed = {"folds": st.integers(2, 4), "seed": st.integers(0, 2**31 - 1)}


@settings(examples, max_examples=100)
@given(before=some_images | unlike_images, added=added_images, rule=rules, **folds_and_seed)
def test_adding_images_moves_none_from_test_to_train(
    before: list[Image], added: list[Image], rule: dict[str, Any], folds: int, seed: int
) -> None:
    params = params_of(folds, seed, **rule)
    first, groups = drawn(before, params)
    # Before the others, so that places in the table change as well.
    second, joined = drawn(added + before, params)
    kept = np.flatnonzero(first.tested & ~np.isin(groups, list(first.borrowed.values()))) + len(added)
    assert second.tested[kept].all()
    # Neither they nor anything that now looks like them or shares a group with them is trained on.
    assert second.tested[np.isin(joined, joined[kept])].all()


@examples
@given(before=some_images | unlike_images, rule=rules, **folds_and_seed)
def test_groups_are_drawn_whole(before: list[Image], rule: dict[str, Any], folds: int, seed: int) -> None:
    draw, _ = drawn(before, params_of(folds, seed, **rule))
    for attribute in ("pixels", "group", "look"):
        sides: dict[Any, set[bool]] = {}
        for image, tested in zip(before, draw.tested.tolist(), strict=True):
            sides.setdefault(getattr(image, attribute), set()).add(tested)
        assert all(len(found) == 1 for value, found in sides.items() if value is not None), attribute


@examples
@given(before=some_images | unlike_images, rule=rules, **folds_and_seed)
def test_every_class_that_can_has_a_test_image(
    before: list[Image], rule: dict[str, Any], folds: int, seed: int
) -> None:
    draw, groups = drawn(before, params_of(folds, seed, **rule))
    for label in {image.label for image in before}:
        inside = np.array([image.label == label for image in before])
        assert draw.tested[inside].any() or len(set(groups[inside])) == 1
    for label, group in draw.borrowed.items():
        # Only a class that has nothing else there lends, but another class may have lent a group of its as well.
        there = set(groups[draw.tested & np.array([image.label == label for image in before])].tolist())
        assert group in there <= set(draw.borrowed.values())


@examples
@given(
    before=unlike_images,
    number=st.integers(1, 8),
    more=st.integers(0, 8),
    share=st.floats(0.05, 0.5),
    wider=st.floats(0, 0.4),
    **folds_and_seed,
)
def test_a_larger_share_or_a_smaller_number_only_adds_to_the_test(
    before: list[Image], number: int, more: int, share: float, wider: float, folds: int, seed: int
) -> None:
    for small, large in (
        ({"train_per_class": number + more}, {"train_per_class": number}),
        ({"test_fraction": share}, {"test_fraction": share + wider}),
    ):
        less, _ = drawn(before, params_of(folds, seed, **small))
        # Of unlike images not even those that are lent go back: they are the first that a larger share draws.
        assert not (less.tested & ~drawn(before, params_of(folds, seed, **large))[0].tested).any()


@examples
@given(count=st.integers(10, 60), number=st.integers(1, 9), **folds_and_seed)
def test_a_number_per_class_holds_to_the_image_where_all_are_unlike(
    count: int, number: int, folds: int, seed: int
) -> None:
    draw, _ = drawn(unlike(count) + unlike(count + 5, "b", 1000), params_of(folds, seed, train_per_class=number))
    assert (~draw.tested[:count]).sum() == (~draw.tested[count:]).sum() == number
    assert not draw.pulled_in_by_group.any() and not draw.borrowed


@examples
@given(sizes=st.lists(st.integers(1, 9), min_size=12, max_size=30), number=st.integers(1, 20), **folds_and_seed)
def test_a_number_per_class_takes_whole_groups_and_no_more_than_it_needs(
    sizes: list[int], number: int, folds: int, seed: int
) -> None:
    films = [Image("a", 100 * film + frame, f"film {film}") for film, size in enumerate(sizes) for frame in range(size)]
    draw, groups = drawn(films, params_of(folds, seed, train_per_class=number))
    taken = pd.Series(groups[~draw.tested]).value_counts()
    needed = min(folds, number)
    assume(len(taken) < len(sizes) - 1)
    assert taken.sum() >= number and len(taken) >= needed
    assert taken.sum() - taken.max() < number or len(taken) == needed


def tolerance(sizes: Iterable[int]) -> float:
    """How far a sum of independent draws, each of ``sizes`` images or none, may be from its mean; 1e-9 is the chance.

    Hoeffding, "Probability inequalities for sums of bounded random variables", JASA 1963, theorem 2:
    P(|X - E X| >= t) <= 2 exp(-2 t^2 / sum of squared sizes).
    """
    return float(np.sqrt(np.log(2 / 1e-9) / 2 * np.sum(np.square(list(sizes)))))


@examples
@given(films=st.integers(150, 400), length=st.integers(1, 6), share=st.floats(0.1, 0.5), seed=folds_and_seed["seed"])
def test_the_share_of_a_class_holds_however_large_its_groups_are(
    films: int, length: int, share: float, seed: int
) -> None:
    frames = [Image("a", 10 * film + frame, f"film {film}") for film in range(films) for frame in range(length)]
    draw, _ = drawn(frames, params_of(5, seed, test_fraction=share))
    assert abs(draw.tested.sum() - share * len(frames)) <= tolerance([length] * films)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("per_class", [40, 400])
def test_over_many_classes_the_shares_spread_as_the_binomial_says(share: float, per_class: int) -> None:
    classes = 250
    rows = [image for number in range(classes) for image in unlike(per_class, f"c{number:03}", number * per_class)]
    draw, _ = drawn(rows, params_of(5, test_fraction=share))
    tested = draw.tested.reshape(classes, per_class).sum(axis=1)
    deviation = np.sqrt(per_class * share * (1 - share))
    # The mean of 250 within six of its standard errors, and the deviation within a fifth (6.7 % is one such error).
    assert abs(tested.mean() - share * per_class) <= 6 * deviation / np.sqrt(classes)
    assert tested.std() == pytest.approx(deviation, rel=0.2)
    assert np.mean(np.abs(tested - share * per_class) <= 2 * deviation) == pytest.approx(0.95, abs=0.04)


@pytest.mark.parametrize(("count", "one_in"), [(10, 9.3), (20, 86.7)])
def test_classes_without_a_test_image_are_as_rare_as_said(count: int, one_in: float) -> None:
    classes = 5_000 if count == 20 else 2_000
    rows = [image for number in range(classes) for image in unlike(count, f"c{number:05}", number * count)]
    lent = len(hash_split(rows_of(rows), np.arange(len(rows)), params_of(5, test_fraction=0.2)).borrowed)
    expected = classes / one_in
    assert abs(lent - expected) <= 5 * np.sqrt(expected)


@examples
@given(
    kept=st.lists(st.booleans(), min_size=120, max_size=120),
    share=st.floats(0.1, 0.5),
    seed=folds_and_seed["seed"],
)
def test_taking_unlike_images_away_moves_none_while_the_class_is_large(
    kept: list[bool], share: float, seed: int
) -> None:
    everything = unlike(120)
    params = params_of(3, seed, test_fraction=share)
    rest = [image for image, keep in zip(everything, kept, strict=True) if keep]
    assume(len(rest) >= 40)
    whole, part = drawn(everything, params)[0], drawn(rest, params)[0]
    assume(not part.borrowed)
    assert part.tested.tolist() == whole.tested[np.array(kept)].tolist()


@examples
@given(
    before=st.lists(st.integers(0, 10**6), min_size=60, max_size=90, unique=True),
    which=st.integers(0, 59),
    rule=rules,
    **folds_and_seed,
)
def test_another_label_for_one_image_moves_at_most_one_other_of_each_class(
    before: list[int], which: int, rule: dict[str, Any], folds: int, seed: int
) -> None:
    rows = [Image("ab"[number % 2], pixels) for number, pixels in enumerate(before)]
    params = params_of(folds, seed, **rule)
    first, _ = drawn(rows, params)
    changed = [
        image._replace(label="ab"["ba".index(image.label)]) if at == which else image for at, image in enumerate(rows)
    ]
    second, _ = drawn(changed, params)
    assume(not first.borrowed and not second.borrowed)
    moved = np.flatnonzero(first.tested != second.tested)
    for label in "ab":
        assert len([at for at in moved if at != which and rows[at].label == label]) <= 1
    if "test_fraction" in rule:
        assert not len(moved)


def test_near_copies_of_a_test_image_are_tested_and_counted() -> None:
    alone, _ = drawn(unlike(40), params_of(test_fraction=0.3))
    tested, trained = int(np.flatnonzero(alone.tested)[0]), int(np.flatnonzero(~alone.tested)[0])
    rows = [image._replace(look=image.pixels) for image in unlike(40)]
    # A copy of which by itself each is trained on: one of a test image, one of a training image.
    fresh = next(
        number for number in range(1000, 2000)
        if not drawn([*unlike(40), Image("a", number), Image("a", number + 1)], params_of(test_fraction=0.3))[0]
        .tested[-2:].any()
    )  # fmt: skip
    copies = [Image("a", fresh, look=tested), Image("a", fresh + 1, look=trained)]
    draw, _ = drawn(rows + copies, params_of(test_fraction=0.3))
    assert draw.tested[-2:].tolist() == [True, False]
    assert draw.pulled_in_by_group.nonzero()[0].tolist() == [40]


def test_the_one_exception_a_lent_image_goes_back_once_the_class_has_a_test_image_of_its_own() -> None:
    params = params_of(test_fraction=0.05)
    draw, groups = drawn(unlike(9), params)
    assert draw.borrowed == {"a": int(groups[draw.tested][0])} and draw.tested.sum() == 1
    after, _ = drawn(unlike(400), params)
    assert after.tested.sum() > 1 and not after.tested[:9][draw.tested].any() and not after.borrowed


def test_as_many_groups_as_there_are_folds_are_never_drawn_away_from_training() -> None:
    for seed in range(20):
        draw, _ = drawn(unlike(8) + unlike(8, "b", 100), params_of(5, seed, test_fraction=0.9))
        assert (~draw.tested[:8]).sum() == (~draw.tested[8:]).sum() == 5
