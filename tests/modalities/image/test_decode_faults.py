"""The table of planted faults: each is refused with a message or is an image, quickly and in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from graft.core.errors import DataError
from graft.modalities.image.decode import decode, decode_fully
from tests.conftest import picture
from tests.modalities.image.faults import FAULTS, SUFFIX, Fault, encoded, plant

BY_NAME = pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
# Bytes that a process which decodes all faults may ask for; 300 MB of them are Python and its libraries.
MEMORY = 1 << 30


@BY_NAME
def test_every_fault_is_refused_with_a_message_or_is_an_image(fault: Fault, tmp_path: Path) -> None:
    path = tmp_path / fault.name
    path.write_bytes(fault.data())
    if fault.problem is None:
        decoded = decode_fully(path)
        assert (decoded.image.mode, decoded.image.size) == ("RGB", fault.size)
        assert (decoded.width, decoded.height) == fault.size
        assert ("one_frame" in fault.checks) == (decoded.frames > 1)
        return
    with pytest.raises(DataError) as caught:
        decode(path)
    assert caught.value.what.startswith(fault.problem)
    assert caught.value.where == str(path)
    assert (caught.value.remedy or "").endswith(", or take it out")


@BY_NAME
def test_a_least_side_hides_no_fault(fault: Fault) -> None:
    data = fault.data()
    if fault.problem is None:
        assert decode(data, least_side=8).mode == "RGB"
    else:
        with pytest.raises(DataError) as caught:
            decode(data, least_side=1)
        assert caught.value.what.startswith(fault.problem)


def test_all_faults_together_fit_into_a_gibibyte_and_do_not_hang(tmp_path: Path) -> None:
    planted = plant(tmp_path / "images")
    code = (
        "import resource, sys; from pathlib import Path\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))\n"
        "from graft.data.manifest import describe_file\n"
        "from graft.modalities.image.modality import ImageModality\n"
        "for line in sys.stdin:\n"
        "    print(describe_file(Path(line.rstrip('\\n')), ImageModality()).get('problems', 'an image'))\n"
    )
    names = "".join(f"{tmp_path / 'images' / path}\n" for path in planted)
    done = subprocess.run(
        [sys.executable, "-c", code], input=names, capture_output=True, text=True, timeout=120, check=True
    )
    said = done.stdout.splitlines()
    assert len(said) == len(planted)
    for fault, line in zip(planted.values(), said, strict=True):
        assert line.startswith(fault.problem or "an image"), fault.name


def test_the_table_says_what_it_is() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(names) == len(set(names))
    assert [fault.data() for fault in FAULTS] == [fault.data() for fault in FAULTS]


# What Hypothesis starts from: small files of every kind that is read, and of every way to write it that differs.
WHOLE = (
    *(encoded(picture(3), kind) for kind in SUFFIX),
    encoded(picture(3), "JPEG", progressive=True),
    encoded(picture(3).convert("CMYK"), "JPEG"),
    encoded(picture(3), "WEBP", lossless=True),
    encoded(picture(3), "TIFF", compression="tiff_lzw"),
    encoded(picture(3), "TIFF", compression="jpeg"),
    *(fault.data() for fault in FAULTS if fault.name.startswith(("animated", "icc_a", "exif_6", "colour_16"))),
)
MAGIC = (
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF89a",
    b"II*\x00",
    b"MM\x00*",
    b"BM",
    b"RIFF\x40\0\0\0WEBPVP8 ",
)


def image_or_refusal(data: bytes, least_side: int | None) -> None:
    """The whole promise of the decoder: an RGB image, or a DataError that says something."""
    try:
        image = decode(data, least_side=least_side)
    except DataError as error:
        assert error.what
    else:
        assert image.mode == "RGB" and min(image.size) > 0
        assert len(image.tobytes()) == image.width * image.height * 3


@given(st.binary(max_size=300), st.sampled_from(MAGIC), st.sampled_from([None, 1, 100]))
def test_arbitrary_bytes_are_an_image_or_a_dataerror(data: bytes, magic: bytes, least_side: int | None) -> None:
    image_or_refusal(magic + data, least_side)


@settings(max_examples=200)
@given(st.data(), st.sampled_from(range(len(WHOLE))), st.sampled_from([None, 1]))
def test_mutated_images_are_an_image_or_a_dataerror(data: st.DataObject, which: int, least_side: int | None) -> None:
    bytes_ = bytearray(WHOLE[which])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(bytes_) - 1))
        kind = data.draw(st.sampled_from(["set", "cut", "remove", "insert", "swap"]))
        if kind == "set":
            bytes_[place] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
        elif kind == "cut":
            del bytes_[max(1, place) :]
        elif kind == "remove":
            del bytes_[place : place + data.draw(st.integers(1, 16))]
        elif kind == "insert":
            bytes_[place:place] = data.draw(st.binary(max_size=16))
        else:
            other = data.draw(st.integers(0, len(bytes_) - 1))
            bytes_[place], bytes_[other] = bytes_[other], bytes_[place]
        if not bytes_:
            break
    image_or_refusal(bytes(bytes_), least_side)


@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))), st.sampled_from(["PNG", "BMP"]))
def test_what_is_written_without_loss_is_read_without_loss(values: np.ndarray, kind: str) -> None:
    assert np.array_equal(np.asarray(decode(encoded(Image.fromarray(values), kind))), values)


def test_validation_names_exactly_the_files_that_the_table_says(tmp_path: Path) -> None:
    from graft.data.doctor.audit import load
    from graft.data.doctor.doctor import DEFAULTS
    from graft.data.validation.suite import validate_manifest

    planted = plant(tmp_path / "images")
    manifest = load(str(tmp_path / "images"), DEFAULTS).manifest
    findings = {item.check: item for item in validate_manifest(manifest, DEFAULTS.params)}
    for check in ("decodable", "one_frame", "resolution"):
        named = {item.path for item in findings[check].failing}
        assert named == {path for path, fault in planted.items() if check in fault.checks}, check
    for check in ("duplicates", "label_conflict"):
        assert [item.path for item in findings[check].failing] == [], check


@pytest.mark.parametrize("quality,subsampling", [(75, 2), (100, 0), (100, 2), (30, 0)])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("cut", [1, 2])
def test_a_jpeg_without_its_end_is_refused_however_it_was_written(
    quality: int, subsampling: int, options: dict[str, object], mode: str, cut: int
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(noise).convert(mode), "JPEG", quality=quality, subsampling=subsampling, **options)
    for least_side in (None, 8, 30):
        assert decode(whole + b"what cameras append", least_side=least_side).mode == "RGB"
        with pytest.raises(DataError, match="the image is damaged: its end is missing"):
            decode(whole[:-cut], least_side=least_side)


def test_the_end_of_a_thumbnail_is_not_that_of_the_jpeg() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(noise), "JPEG", quality=100, subsampling=0, comment=encoded(picture(1), "JPEG"))
    decode(whole)
    with pytest.raises(DataError, match="its end is missing"):
        decode(whole[:-2])
