"""Zips as they come, and as somebody who means harm makes them."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from graft.core.errors import DataError
from graft.serving.archive import members
from graft.serving.inference import printable

MEBI = 1 << 20


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def read(
    archive: bytes, most: int = 10, most_bytes: int = 8 * MEBI, each_most: int = 4 * MEBI
) -> dict[str, bytes | str]:
    found = members(archive, most, most_bytes, each_most)
    return {one.name: one.data if isinstance(one.data, bytes) else one.data.what for one in found}


def test_files_are_taken_in_their_order_without_what_systems_add() -> None:
    files = {
        "b/2.png": b"two",
        "b/": b"",
        "1.png": b"one",
        "__MACOSX/._1.png": b"x",
        "b/.DS_Store": b"x",
        "Thumbs.db": b"x",
    }
    assert list(read(zipped(files)).items()) == [("b/2.png", b"two"), ("1.png", b"one")]


@pytest.mark.parametrize(
    "name", ["../../etc/cron.d/x", "/etc/passwd", "C:\\x.png", "a/../../x", "x" * 5000, "a\nb\x1b[31m"]
)
def test_names_lead_nowhere_and_can_be_shown(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read(zipped({name: b"data"})) == {name: b"data"}
    assert list(tmp_path.rglob("*")) == []
    assert printable(name).isprintable() and len(printable(name)) <= 200


def test_what_comes_out_is_bounded_whatever_the_directory_says() -> None:
    bomb = zipped({"a.png": bytes(5 * MEBI)})
    assert read(bomb)["a.png"] == "this file is too large"
    # The directory says 10 bytes, the data are more: Python's reader stops there, and the sum does not fit.
    at = bomb.index(b"PK\x01\x02")
    lie = bomb[: at + 24] + struct.pack("<I", 10) + bomb[at + 28 :]
    assert read(lie)["a.png"] == "this file is damaged in the zip"


def test_all_together_are_bounded() -> None:
    noise = b"".join(bytes([number % 251]) * 40 for number in range(MEBI // 40))
    many = zipped({f"{number}.png": noise for number in range(9)}, zipfile.ZIP_STORED)
    with pytest.raises(DataError, match="the zip unpacks to more than may be sent at once"):
        read(many)


def test_entries_that_lie_over_one_another_cost_what_they_unpack_to() -> None:
    plain = zipped({"a.png": b"x" * 1000, "b.png": b"y"})
    first = plain.index(b"PK\x01\x02")
    second = plain.index(b"PK\x01\x02", first + 4)
    over = plain[: second + 42] + struct.pack("<I", 0) + plain[second + 46 :]
    found = read(over)
    assert found["a.png"] == b"x" * 1000
    assert found["b.png"] == "this file is damaged in the zip"


def test_too_many_files_are_refused_before_the_directory_is_read() -> None:
    with pytest.raises(DataError, match="the zip has 11 files, and the most is 10"):
        read(zipped({str(number): b"x" for number in range(11)}))
    with pytest.raises(DataError, match="the zip has more than 10 files"):
        read(zipped({str(number): b"x" for number in range(300)}))


def test_encrypted_and_oddly_packed_files_are_refused_one_by_one() -> None:
    plain = zipped({"a.png": b"x", "b.png": b"y"}, zipfile.ZIP_STORED)
    at = plain.index(b"PK\x01\x02")
    locked = plain[: at + 8] + b"\x01\x00" + plain[at + 10 :]
    assert read(locked) == {"a.png": "this file is encrypted", "b.png": b"y"}
    assert read(zipped({"a.png": b"x"}, zipfile.ZIP_LZMA)) == {"a.png": "this file is packed in a way that is not read"}


@pytest.mark.parametrize(
    "data",
    [b"", b"PK", b"hello" * 100, zipped({"a": b"x" * 99})[:-30], zipped({"a": b"x"})[40:]],
    ids=["empty", "two letters", "text", "cut off", "without its beginning"],  # bytes of a zip hold the time
)
def test_what_is_no_zip_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="the archive is no zip that can be read"):
        read(data)


def test_an_empty_zip_is_refused() -> None:
    with pytest.raises(DataError, match="there is no file in the zip"):
        read(zipped({"folder/": b""}))


def test_every_damaged_byte_ends_in_files_or_a_refusal() -> None:
    whole = zipped({"a.png": b"some data" * 20, "b/c.png": b"more"})
    for place in range(len(whole)):
        for value in (0, 255, whole[place] ^ 1):
            broken = whole[:place] + bytes([value]) + whole[place + 1 :]
            with warnings.catch_warnings(), suppress(DataError):
                warnings.simplefilter("ignore")  # of names that come twice
                read(broken)
