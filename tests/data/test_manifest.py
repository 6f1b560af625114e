"""The manifest: a typed row for every file, and a problem instead of a crash."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from graft.core.errors import DataError
from graft.data.ingest import ingested_table
from graft.data.manifest import build_manifest, describe_file, usable
from graft.data.sources.listing import Sample
from graft.data.stats_cache import schema_of
from graft.modalities.image.modality import ImageModality
from graft.modalities.image.stats import ImageSample
from tests.conftest import picture

IMAGE = ImageModality()


def save(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


def test_a_bad_file_is_a_problem_and_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"text")
    assert describe_file(tmp_path / "bad.jpg", IMAGE) == {
        "bytes": 4,
        "sha256": hashlib.sha256(b"text").hexdigest(),
        "problems": "this is not an image but text; graft reads JPEG, PNG, WebP, HEIC, BMP, GIF and TIFF",
    }
    assert describe_file(tmp_path / "gone.jpg", IMAGE) == {"problems": "there is no such file"}


def rows(tmp_path: Path, count: int) -> tuple[pd.DataFrame, list[Path]]:
    files = [save(tmp_path / f"{number}.png", picture(number)) for number in range(count)]
    files[1].write_bytes(b"text")
    return ingested_table({f"a/{file.name}": Sample(file, file.name, "a") for file in files}), files


def test_the_manifest_has_a_typed_row_for_every_file_however_many_processes(tmp_path: Path) -> None:
    table, files = rows(tmp_path, 5)
    serial = build_manifest(table, files, IMAGE)
    pd.testing.assert_frame_equal(serial, build_manifest(table, files, IMAGE, workers=2))
    assert serial.columns.tolist() == [*table.columns, *schema_of(IMAGE).names]
    assert serial["problems"].notna().tolist() == [False, True, False, False, False]
    assert usable(serial)["path"].tolist() == ["a/0.png", "a/2.png", "a/3.png", "a/4.png"]
    assert serial.dtypes[["width", "brightness", "mode"]].astype(str).tolist() == ["Int64", "float64", "str"]
    serial.to_parquet(tmp_path / "m.parquet")
    pd.testing.assert_frame_equal(serial, pd.read_parquet(tmp_path / "m.parquet"))


def test_a_manifest_without_any_good_image_keeps_its_types(tmp_path: Path) -> None:
    table, files = rows(tmp_path, 2)
    only_bad = build_manifest(table.iloc[1:], files[1:], IMAGE)
    assert only_bad.dtypes[["width", "brightness", "pixel_sha256"]].astype(str).tolist() == ["Int64", "float64", "str"]


class KillsItsProcess(ImageModality):
    """As the kernel does where memory runs out."""

    def decode(self, raw: bytes) -> ImageSample:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().decode(raw)


def test_a_killed_process_ends_in_a_message(tmp_path: Path) -> None:
    table, files = rows(tmp_path, 3)
    with pytest.raises(DataError, match="a process that was reading files was killed"):
        build_manifest(table, files, KillsItsProcess(), workers=2)
