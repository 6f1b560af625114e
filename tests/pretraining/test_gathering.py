"""What a source task takes of a data source: no test image of the target, no copies on both sides, clear refusals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from graft.core.errors import DataError
from graft.core.settings import Candidate, Params, Pretrain, Zoo
from graft.data.ingest import table_in_place
from graft.data.manifest import build_manifest, with_keys
from graft.modalities.image.modality import ImageModality
from graft.pipeline.gather import held_out
from graft.pretraining.source_dataset import (
    GLYPHS,
    HELD_OUT,
    STRADDLING,
    TESTED,
    TRAIN,
    TWO_LABELS,
    UNREADABLE,
    SourceDataset,
    divide_source,
    find_source,
)
from tests.conftest import picture, write_classes

PARAMS = Params(zoo=Zoo(candidates=(Candidate("resnet18", "source"),)), pretrain=Pretrain(held_out=0.3))
NOTHING = pd.DataFrame({"fingerprint": [], "near_key": []}, dtype="str")
SIZE = (40, 40)  # of which perceptual hashes are taken


def facts(source: Path, params: Params = PARAMS) -> pd.DataFrame:
    """The manifest of a source, as the stage makes it."""
    found = find_source(str(source), Path(), source, params.data.follow_links)
    table, files = table_in_place(found.samples)
    return with_keys(build_manifest(table, files, ImageModality(), workers=1), ImageModality())


def gathered(manifest: pd.DataFrame, tested: pd.DataFrame, params: Params) -> SourceDataset:
    """The source divided as the stage divides it."""
    return divide_source(manifest, tested, params.validation.near_duplicate_distance, partial(held_out, params))


def sides(gathered: SourceDataset) -> dict[str, set[str]]:
    return {side: set(rows["path"]) for side, rows in gathered.table.groupby("split")}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "source", {"cat": 20, "dog": 20}, size=SIZE)


def test_every_image_has_a_side_and_each_class_both(source: Path) -> None:
    found = gathered(facts(source), NOTHING, PARAMS)
    assert len(found.table) == 40 and found.left_out == {} and found.classes == ("cat", "dog")
    counts = found.table.groupby(["label", "split"]).size()
    assert set(counts.index) == {(label, side) for label in ("cat", "dog") for side in (TRAIN, HELD_OUT)}
    assert 4 <= counts.xs(HELD_OUT, level="split").sum() <= 20
    assert gathered(facts(source), NOTHING, PARAMS).table.equals(found.table)


def test_images_that_the_target_is_tested_on_are_left_out(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "one").mkdir()
    picture(0, SIZE).save(target / "one/same.bmp")  # cat_000 in another format
    picture(1, SIZE).resize((56, 56)).save(target / "one/near.jpg", quality=80)  # cat_001, larger and compressed
    picture(5_000, SIZE).save(target / "one/other.png")
    write_classes(target, {"two": 1}, seed=900)
    tested = facts(target)
    found = gathered(facts(source), tested, PARAMS)
    assert found.left_out == {TESTED: 2}
    assert set(facts(source)["path"]) - set(found.table["path"]) == {"cat/cat_000.png", "cat/cat_001.png"}


def test_what_cannot_be_used_is_left_out_and_counted(source: Path) -> None:
    (source / "cat/broken.png").write_bytes(b"no image")
    picture(3, SIZE).save(source / "dog/twice.png")  # cat_003 is a cat
    found = gathered(facts(source), NOTHING, PARAMS)
    assert found.left_out == {UNREADABLE: 1, TWO_LABELS: 2}
    assert not {"cat/broken.png", "dog/twice.png", "cat/cat_003.png"} & set(found.table["path"])


def test_copies_never_lie_on_both_sides(source: Path) -> None:
    for number in range(20):
        image = Image.open(source / f"cat/cat_{number:03d}.png")
        image.save(source / f"cat/copy_{number:03d}.bmp")
    found = gathered(facts(source), NOTHING, PARAMS)
    by_number = found.table[found.table["label"] == "cat"]
    number = by_number["path"].str.extract(r"_(\d+)\.", expand=False)
    assert (by_number.groupby(number)["split"].nunique() == 1).all()
    assert (by_number.groupby(number)["group"].nunique() == 1).all()
    assert set(by_number["split"]) == {TRAIN, HELD_OUT}


def test_a_source_that_comes_divided_is_used_as_it_is(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_classes(source / "train", {"cat": 6, "dog": 6}, size=SIZE)
    write_classes(source / "test", {"cat": 2, "dog": 2}, seed=500, size=SIZE)
    picture(0, SIZE).save(source / "test/cat/copy.png")  # of train/cat/cat_000.png
    found = gathered(facts(source), NOTHING, PARAMS)
    assert found.left_out == {STRADDLING: 1}
    assert {side: len(paths) for side, paths in sides(found).items()} == {TRAIN: 11, HELD_OUT: 5}


def test_the_hash_is_of_images_labels_and_sides_and_not_of_names(source: Path) -> None:
    before = gathered(facts(source), NOTHING, PARAMS).digest
    (source / "cat/cat_000.png").rename(source / "cat/renamed.png")
    assert gathered(facts(source), NOTHING, PARAMS).digest == before
    more = dataclasses.replace(PARAMS, pretrain=dataclasses.replace(PARAMS.pretrain, held_out=0.5))
    assert gathered(facts(source), NOTHING, more).digest != before
    picture(800, SIZE).save(source / "cat/renamed.png")
    assert gathered(facts(source), NOTHING, PARAMS).digest != before


def test_a_source_of_one_class_is_refused(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "source", {"cat": 3, "dog": 1})
    (source / "dog/dog_000.png").write_bytes(b"no image")
    with pytest.raises(DataError) as refused:
        gathered(facts(source), NOTHING, PARAMS)
    assert str(refused.value) == (
        "the source has only one class, 'cat'; 1 of its images cannot be decoded and are left out\n"
        "  where: pretrain.source\n"
        "  remedy: a source task needs two classes or more: name another source, or add images to this one"
    )


def test_a_source_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "source", {"cat": 2, "dog": 2})
    for file in source.rglob("*.png"):
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match="the source has no image that can be used; 4 of its images cannot be decoded"):
        gathered(facts(source), NOTHING, PARAMS)


def test_a_source_that_is_the_targets_test_is_refused(source: Path) -> None:
    with pytest.raises(
        DataError, match="no image that can be used; 40 of its images show what the target is tested on"
    ):
        gathered(facts(source), facts(source), PARAMS)


def test_a_class_that_is_only_held_out_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_classes(source / "train", {"cat": 3, "dog": 3})
    write_classes(source / "test", {"cat": 2, "cow": 2}, seed=500)
    with pytest.raises(DataError, match="class 'cow' of the source has no image to train on"):
        gathered(facts(source), NOTHING, PARAMS)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_missing_or_empty_source_is_named_by_its_own_key(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty/cat").mkdir(parents=True)
    with pytest.raises(DataError) as refused:
        find_source(str(tmp_path / name), Path(), tmp_path, False)
    assert refused.value.where == str(tmp_path / name)
    assert refused.value.remedy is not None and "pretrain.source" in refused.value.remedy
    assert "data.source" not in str(refused.value)


def test_glyphs_are_not_looked_for(tmp_path: Path) -> None:
    assert find_source(GLYPHS, tmp_path, tmp_path, False).samples == ()


def test_held_out_images_follow_their_pixels(source: Path, make_classes: Callable[..., Path]) -> None:
    """More images never move one that is held out to training, so a longer source can be compared with a shorter."""
    before = sides(gathered(facts(source), NOTHING, PARAMS))
    write_classes(source, {"cow": 5}, seed=300_000, size=SIZE)
    after = sides(gathered(facts(source), NOTHING, PARAMS))
    assert before[HELD_OUT] <= after[HELD_OUT]
