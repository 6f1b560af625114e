"""Several data sets: ranks by hand, the training part only, the pipeline's own division, and one cache for all."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graft.cli.rank import lines
from graft.cli.ranking import Places, Ranking, mean_ranks, names, rank_on_all, to_json, train_part
from graft.core.errors import DataError, GraftError
from graft.core.settings import Candidate, Params
from graft.data.ingest import copy_images
from graft.data.manifest import build_manifest
from graft.data.packing import pack_files
from graft.data.sources.listing import SourceSpec
from graft.data.sources.registry import list_source
from graft.data.splits.splits import divide
from graft.features.cache import ArrayCache
from graft.features.image_cache import decoded
from graft.metrics.scorer import ACCURACY
from graft.modalities.image.modality import ImageModality
from graft.modalities.image.preprocessing import Geometry
from graft.selection.failures import Failed
from tests.conftest import write_classes

from .conftest import SMALL, planted


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path, tmp_path, tmp_path / "cache", tmp_path / "scratch")


def _ranking(*scores: float | None, source: str = "a/b") -> Ranking:
    found = [
        Failed(Candidate(f"n{place}", "none"), "probing: out of memory") if score is None
        else planted(f"n{place}", score, 5.0 - place)
        for place, score in enumerate(scores)
    ]  # fmt: skip
    return Ranking(source, 3, 60, tuple(found))


def test_mean_ranks_by_hand() -> None:
    """Equals share their places, and what failed is last."""
    one, two = _ranking(0.9, 0.8, 0.8, None), _ranking(0.5, 0.7, 0.6, 0.4)
    assert mean_ranks([one]) == pytest.approx([1, 2.5, 2.5, 4])
    assert mean_ranks([one, two]) == pytest.approx([2, 1.75, 2.25, 4])
    assert one.best == 0 and two.best == 1
    assert _ranking(0.8, 0.8).best == 1, "equals go to the cheaper"


def test_the_table_for_people_and_for_programs() -> None:
    rankings = (_ranking(0.9, 0.8, None), _ranking(0.5, 0.7, 0.6, source="digits"))
    named = ["big", "small", "third"]
    text = lines(rankings, named, ACCURACY)
    rows = [line.split("  ") for line in text if line.startswith(tuple(named))]
    assert [row[0].strip() for row in rows] == ["small", "big", "third"]
    said = "\n".join(text)
    assert "candidate  mean rank  b" in said and "90.0% ± 1.2 *" in said and "70.0% ± 1.2 *" in said
    assert "best on b (60 training images, 3 classes): big" in said and "best on digits" in said
    assert "failed on b: third: probing: out of memory" in said
    found = to_json(rankings, named)
    assert [item["best"] for item in found["data"]] == ["big", "small"]
    assert found["data"][0]["candidates"][2] == {
        "name": "third",
        "probe_mean": None,
        "failed": "probing: out of memory",
    }
    assert found["data"][1]["candidates"][1]["probe_mean"] == pytest.approx(0.7)
    assert [item["name"] for item in found["ranking"]] == ["small", "big", "third"]


def test_the_training_part_is_that_of_the_pipeline(
    make_classes: Callable[..., Path], places: Places, asked: Callable[..., Params], tmp_path: Path
) -> None:
    """The same images, folds and labels as ingest, validate and split give; also for data that comes divided."""
    params = asked(SMALL)
    plain = make_classes({"ant": 9, "bee": 7}, name="plain")
    parted = tmp_path / "parted"
    write_classes(parted / "train", {"ant": 6, "bee": 6}, seed=1)
    write_classes(parted / "test", {"ant": 3, "bee": 3}, seed=2)
    for source in (plain, parted):
        data = train_part(str(source), params, places)
        raw = tmp_path / f"raw-{source.name}"
        table = copy_images(list_source(SourceSpec(str(source), tmp_path, tmp_path / "s")).samples, raw)
        manifest = build_manifest(table, [raw / path for path in table["path"]], ImageModality())
        splits = divide(manifest, params).table
        rows = splits[splits["split"] == "train"].merge(manifest[["path", "sha256"]], on="path")
        assert data.images.digests == tuple(rows["sha256"])
        assert data.folds.tolist() == rows["fold"].tolist()
        assert [data.classes[label] for label in data.labels] == rows["label"].tolist()
        assert data.groups is not None and data.groups.tolist() == rows["group"].tolist()
        assert len(rows) < len(table), "something is left for the test"
    assert all("/train/" in path for path in data.images.paths)


def test_images_in_tar_files_are_read_as_those_of_the_folder(
    make_classes: Callable[..., Path], places: Places, asked: Callable[..., Params], tmp_path: Path
) -> None:
    folder, tars, geometry = make_classes({"ant": 9, "bee": 7}), tmp_path / "tars", Geometry(24, 1.0, "bilinear")
    tars.mkdir()
    pack_files({str(path.relative_to(folder)): path for path in folder.rglob("*.png")}, tars, 2)
    parts = [train_part(str(source), asked(SMALL), places) for source in (folder, tars)]
    loose, packed = (decoded(part.images, geometry, ArrayCache(tmp_path / str(i))) for i, part in enumerate(parts))
    assert parts[0].images.digests == parts[1].images.digests
    assert loose.tobytes() == packed.tobytes()


def test_fewer_images_than_folds_is_refused(
    make_classes: Callable[..., Path], places: Places, asked: Callable[..., Params]
) -> None:
    with pytest.raises(DataError, match="fewer than the 6 folds") as caught:
        train_part(str(make_classes({"ant": 40, "bee": 6})), asked(SMALL, folds=6), places)
    assert "set select.folds to" in str(caught.value)


def _kept(places: Places) -> set[Path]:
    """Files of rows; the statistics of images have one of their own."""
    return {path for path in places.cache.rglob("*") if path.is_file() and path.name != "stats.parquet"}


def test_a_second_data_set_and_a_second_run_read_what_is_kept(
    make_classes: Callable[..., Path], places: Places, asked: Callable[..., Params], tmp_path: Path
) -> None:
    one, params = make_classes({"ant": 8, "bee": 8}, name="one"), asked(SMALL, {**SMALL, "depth": 99})
    copy = tmp_path / "copy"
    shutil.copytree(one, copy)
    said: list[str] = []
    rank_on_all([str(one)], params, places, said.append)
    kept = _kept(places)
    assert kept
    rankings = rank_on_all([str(one), str(copy)], params, places, said.append)
    assert _kept(places) == kept, "the copy has the same images, and so the same features"
    assert rankings[0].found[0].probe == rankings[1].found[0].probe  # type: ignore[union-attr]
    assert isinstance(rankings[0].found[1], Failed) and len(said) == 6
    assert names(params) == [
        "shufflenet_v2_x0_5 (none, 32 px, depth last)",
        "shufflenet_v2_x0_5 (none, 32 px, depth 99)",
    ]


def test_all_candidates_failing_is_refused(
    make_classes: Callable[..., Path], places: Places, asked: Callable[..., Params]
) -> None:
    with pytest.raises(GraftError, match="every candidate failed"):
        rank_on_all([str(make_classes({"ant": 8, "bee": 8}))], asked({**SMALL, "depth": 99}), places, lambda line: None)


def test_test_images_take_no_part(
    make_classes: Callable[..., Path], places: Places, asked: Callable[..., Params], tmp_path: Path
) -> None:
    """Other pictures on the test side give the same figures."""
    params = asked(SMALL)
    scores = []
    for seed in (2, 3):
        folder = tmp_path / f"data-{seed}"
        write_classes(folder / "train", {"ant": 6, "bee": 6}, seed=1)
        write_classes(folder / "test", {"ant": 3, "bee": 3}, seed=1000 * seed)
        scores.append(rank_on_all([str(folder)], params, dataclasses.replace(places), lambda line: None)[0].scores)
    assert np.array_equal(*scores)
