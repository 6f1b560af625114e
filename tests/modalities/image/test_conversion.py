"""Images of more than 8 bits whose numbers fill little of their type: nothing is lost, and none become alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from graft.core.config import parse_params
from graft.core.settings import DepthScaling
from graft.data.doctor.audit import Audit, AuditSettings
from graft.data.doctor.doctor import audit_path
from graft.modalities.image.conversion import depth_range, range_used
from graft.modalities.image.decode import decode, decode_fully
from graft.modalities.image.preprocessing import Geometry
from tests.modalities.image.faults import SIZE, encoded

LOW, HIGH = 200, 800


def counts(seed: int, low: int = LOW, high: int = HIGH, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Numbers of 16 bits from ``low`` to ``high``, in blocks so that they survive resizing."""
    random = np.random.default_rng(seed)
    blocks = random.integers(low, high + 1, (size[1] // 8, size[0] // 8))
    blocks[0, :2] = low, high
    return np.kron(blocks, np.ones((8, 8))).astype(np.uint16)


def levels(image: Image.Image | np.ndarray) -> int:
    return len(np.unique(np.asarray(image)))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_low_counts_fill_the_grey_levels_by_the_range_that_is_named(kind: str) -> None:
    values = counts(1)
    data = encoded(Image.fromarray(values), kind)
    assert levels(decode(data)) <= 4
    expected = np.rint((values.astype(float) - LOW) * (255 / (HIGH - LOW)))
    for named in ((LOW / 65535, HIGH / 65535), None):
        assert np.array_equal(np.asarray(decode(data, depth_range=named).convert("L")), expected)
    beyond = np.asarray(decode(data, depth_range=(400 / 65535, 600 / 65535)).convert("L"))
    assert (beyond[values <= 400] == 0).all() and (beyond[values >= 600] == 255).all()


def test_real_numbers_are_scaled_too_and_one_number_is_black() -> None:
    values = (counts(2) / 65535).astype(np.float32)
    assert levels(decode(encoded(Image.fromarray(values), "TIFF"), depth_range=None)) > 30
    flat = encoded(Image.fromarray(np.full((48, 64), 300, np.uint16)), "PNG")
    assert np.asarray(decode(flat, depth_range=None)).max() == 0


def test_8_bits_are_not_touched_by_a_range() -> None:
    data = encoded(Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)), "PNG")
    assert decode(data, depth_range=(0.003, 0.01)).tobytes() == decode(data).tobytes()


def test_geometries_of_unlike_ranges_share_nothing_but_the_file() -> None:
    data = encoded(Image.fromarray(counts(3)), "PNG")
    own, fixed = Geometry(48, 1.0, "nearest", "crop", None), Geometry(48, 1.0, "nearest")
    found = own.load_each(data, [own, fixed, own])
    assert {geometry: levels(pixels) for geometry, pixels in found.items()} == {
        own: levels(own.load(data)),
        fixed: levels(fixed.load(data)),
    }
    assert levels(found[own]) > 30 and levels(found[fixed]) <= 4


def test_the_range_of_all_rows_and_how_much_of_it_each_uses() -> None:
    rows = pd.DataFrame({"depth_low": [0.1, 0.2, None], "depth_high": [0.3, 0.5, None]})
    assert depth_range(rows, "dataset") == (0.1, 0.5)
    assert depth_range(rows, "file") is None
    assert depth_range(rows, "fixed") == depth_range(rows.iloc[2:], "dataset") == (0.0, 1.0)
    assert range_used(rows, "dataset").round(3).tolist()[:2] == [0.5, 0.75]
    assert range_used(rows, "fixed").round(3).tolist()[:2] == [0.2, 0.3]
    assert np.isnan(range_used(rows, "fixed").iloc[2])


def test_faint_images_are_unlike_and_turned_ones_too() -> None:
    """Both are grey level 1 throughout where 65,535 is white."""
    one, other = (encoded(Image.fromarray(counts(seed, 200, 300)), "PNG") for seed in (4, 5))
    assert decode(one).tobytes() == decode(other).tobytes()
    first, second = decode_fully(one), decode_fully(other)
    assert first.numbers is not None and second.numbers is not None
    assert first.numbers.tobytes() != second.numbers.tobytes()
    assert first.depth_range == (200 / 65535, 300 / 65535)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode_fully(encoded(Image.fromarray(counts(4, 200, 300)), "PNG", exif=exif.tobytes()))
    assert turned.numbers is not None and turned.numbers.size == turned.image.size == SIZE[::-1]


def asked(scaling: DepthScaling) -> AuditSettings:
    return AuditSettings(
        parse_params({"zoo": {"candidates": ["resnet18"]}, "image": {"depth_scaling": scaling}}, "test")
    )


@pytest.fixture
def faint(tmp_path: Path) -> Path:
    """Two classes of faint images, and one that fills the range."""
    for place, label in enumerate(("cell", "void")):
        (tmp_path / label).mkdir()
        for number in range(8):
            image = Image.fromarray(counts(100 * place + number, 200, 300))
            image.save(tmp_path / label / f"{number}.png")
    return tmp_path


def broken(examination: Audit) -> dict[str, str]:
    return {finding.check: finding.sentence(1) for finding in examination.findings if not finding.success}


def test_faint_images_are_no_label_conflicts_and_one_finding_says_that_they_are_faint(faint: Path) -> None:
    assert broken(audit_path(str(faint), asked("dataset"))) == {}
    assert broken(audit_path(str(faint), asked("file"))) == {}
    assert broken(audit_path(str(faint), asked("fixed"))) == {
        "depth": "depth: images of more than 8 bits use at least 10% of their range; broken by 16: "
        "cell/0.png (uses 0.153% of its range) and 15 more"
    }


def test_one_bright_image_takes_the_range_from_the_others_and_that_is_said(faint: Path) -> None:
    Image.fromarray(counts(9, 0, 65535)).save(faint / "cell" / "bright.png")
    assert broken(audit_path(str(faint), asked("dataset"))).keys() == {"depth"}
