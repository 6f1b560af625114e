"""Decoded images: each file once for all geometries that lack it, and only those that changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.core.errors import DataError
from graft.core.files import sha256
from graft.features import image_cache as room
from graft.features.cache import ArrayCache
from graft.features.image_cache import ImageSet, decoded, decoded_at
from graft.modalities.image import decode as decoding
from graft.modalities.image.preprocessing import Geometry

SMALL, LARGE = Geometry(16, 1.0, "bilinear"), Geometry(24, 0.9, "bicubic")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were decoded, as often as they were."""
    names: list[str] = []
    real = decoding._decoded

    def noted(image: Image.Image, *rest: object) -> object:
        names.append(str(image.getpixel((0, 0))))
        return real(image, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(decoding, "_decoded", noted)
    return names


@pytest.fixture
def of_shades(tmp_path: Path) -> Callable[..., ImageSet]:
    """Write one-coloured pictures, and give them as a set in the order named."""

    def make(*shades: int) -> ImageSet:
        paths = tuple(f"{shade}.png" for shade in shades)
        for shade, path in zip(shades, paths, strict=True):
            Image.new("RGB", (40, 30), (shade, 0, 0)).save(tmp_path / path)
        return ImageSet(tmp_path, paths, tuple(sha256(tmp_path / path) for path in paths))

    return make


def test_each_image_is_decoded_once_per_geometry(
    of_shades: Callable[..., ImageSet], tmp_path: Path, opened: list[str]
) -> None:
    store = ArrayCache(tmp_path / "cache")
    array = decoded(of_shades(10, 200), SMALL, store)
    assert array.shape == (2, 16, 16, 3) and array.dtype == np.uint8
    assert array[:, 0, 0, 0].tolist() == [10, 200]
    assert decoded(of_shades(200, 30, 10), SMALL, ArrayCache(tmp_path / "cache"))[:, 0, 0, 0].tolist() == [200, 30, 10]
    assert len(opened) == 3
    decoded(of_shades(10, 200), LARGE, store)
    assert len(opened) == 5


def test_geometries_that_lack_an_image_share_its_decoding(
    of_shades: Callable[..., ImageSet], tmp_path: Path, opened: list[str]
) -> None:
    some = of_shades(10, 200)
    both = decoded_at(some, [SMALL, LARGE, SMALL], ArrayCache(tmp_path / "both"))
    assert len(opened) == 2
    for geometry in (SMALL, LARGE):
        assert np.array_equal(both[geometry], decoded(some, geometry, ArrayCache(tmp_path / f"apart{geometry.size}")))
    opened.clear()
    store = ArrayCache(tmp_path / "one")
    decoded(of_shades(10, 50), SMALL, store)
    more = decoded_at(of_shades(50, 60, 10), [SMALL, LARGE], store)
    assert more[LARGE][:, 0, 0, 0].tolist() == [50, 60, 10]
    assert len(opened) == 2 + 3


def test_a_file_that_changed_is_decoded_again(
    of_shades: Callable[..., ImageSet], tmp_path: Path, opened: list[str]
) -> None:
    store = ArrayCache(tmp_path / "cache")
    some = of_shades(10, 20, 30)
    decoded(some, SMALL, store)
    Image.new("RGB", (40, 30), (99, 0, 0)).save(tmp_path / "20.png")
    changed = ImageSet(tmp_path, some.paths, (some.digests[0], sha256(tmp_path / "20.png"), some.digests[2]))
    assert decoded(changed, SMALL, store)[:, 0, 0, 0].tolist() == [10, 99, 30]
    assert len(opened) == 4


def test_equal_files_are_decoded_once(of_shades: Callable[..., ImageSet], tmp_path: Path, opened: list[str]) -> None:
    assert decoded(of_shades(10, 10, 20), SMALL, ArrayCache(tmp_path / "cache"))[:, 0, 0, 0].tolist() == [10, 10, 20]
    assert len(opened) == 2


def test_another_decoder_is_another_image(
    of_shades: Callable[..., ImageSet], tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = of_shades(10)
    decoded(some, SMALL, ArrayCache(tmp_path / "cache"))
    monkeypatch.setattr(room, "decoding_version", lambda: "a later one")
    decoded(some, SMALL, ArrayCache(tmp_path / "cache"))
    assert len(opened) == 2


def test_an_image_that_cannot_be_decoded_is_named_and_nothing_is_kept(
    of_shades: Callable[..., ImageSet], tmp_path: Path
) -> None:
    some = of_shades(10, 20)
    (tmp_path / "20.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"20\.png"):
        decoded_at(some, [SMALL, LARGE], ArrayCache(tmp_path / "cache"))
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_no_images_are_an_empty_array(tmp_path: Path) -> None:
    assert decoded(ImageSet(tmp_path, (), ()), SMALL, ArrayCache(tmp_path)).shape == (0, 16, 16, 3)
