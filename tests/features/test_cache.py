"""Kept rows: whatever is asked for in whatever order, and whatever was damaged or removed, the bytes are the same."""

from __future__ import annotations

import os
import pickle
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.features.cache import ArrayCache
from graft.features.keys import row_keys

if TYPE_CHECKING:
    from graft.features.cache import Put


class Asked:
    """Makes rows of 5 numbers from names, and notes which."""

    def __init__(self, store: ArrayCache, table: str = "t") -> None:
        self.store, self.table = store, table
        self.made: list[str] = []

    def __call__(self, *names: str) -> np.ndarray:
        def compute(missing: np.ndarray, put: Put) -> None:
            for place in missing:
                self.made.append(names[place])
                put(int(place), row_of(names[place], self.table)[None])

        return self.store.rows("features", self.table, row_keys(names), compute)


def row_of(name: str, table: str = "t") -> np.ndarray:
    """What a row must be."""
    return np.random.default_rng(zlib.crc32(f"{table}{name}".encode())).standard_normal(5).astype(np.float32)


def wanted(*names: str) -> np.ndarray:
    """What rows must be."""
    return np.stack([row_of(name) for name in names])


def files(folder: Path) -> list[Path]:
    """The kept files."""
    return sorted((folder / "rows").rglob("*.npy"))


def flip(path: Path, offset: int) -> None:
    """Turn one bit of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_only_what_is_new_is_computed(tmp_path: Path) -> None:
    ask = Asked(ArrayCache(tmp_path))
    assert np.array_equal(ask("a", "b", "c"), wanted("a", "b", "c"))
    assert np.array_equal(ask("c", "d", "a", "c"), wanted("c", "d", "a", "c"))
    assert np.array_equal(ask("d", "b"), wanted("d", "b"))
    assert ask.made == ["a", "b", "c", "d"]


def test_another_run_computes_nothing(tmp_path: Path) -> None:
    Asked(ArrayCache(tmp_path))("a", "b")
    again = Asked(ArrayCache(tmp_path))
    assert np.array_equal(again("a", "b"), wanted("a", "b"))
    assert np.array_equal(again("b"), wanted("b"))
    assert again.made == []


def test_another_table_is_another_row(tmp_path: Path) -> None:
    store = ArrayCache(tmp_path)
    Asked(store)("a")
    assert np.array_equal(Asked(store, "other")("a"), row_of("a", "other")[None])


def test_what_a_caller_writes_does_not_reach_the_file(tmp_path: Path) -> None:
    Asked(ArrayCache(tmp_path))("a")[:] = 0
    assert np.array_equal(Asked(ArrayCache(tmp_path))("a"), wanted("a"))


def test_rows_are_mapped_and_not_read(tmp_path: Path) -> None:
    rows = Asked(ArrayCache(tmp_path))("a", "b")
    assert isinstance(rows.base, np.memmap) or isinstance(rows, np.memmap)


def test_a_store_can_be_sent_to_another_process(tmp_path: Path) -> None:
    store = ArrayCache(tmp_path, 3.0)
    Asked(store)("a")
    sent = pickle.loads(pickle.dumps(store))
    assert sent == store
    assert sent._open == {}


def test_a_turned_bit_in_a_row_costs_that_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("a", "b", "c", "d")
    Asked(ArrayCache(tmp_path))(*names)
    [file] = files(tmp_path)
    flip(file, file.read_bytes().index(row_of("c").tobytes()) + 7)
    ask = Asked(ArrayCache(tmp_path))
    assert np.array_equal(ask(*names), wanted(*names))
    assert ask.made == ["c"]
    said = f"the kept file {file} is damaged (1 of 4 rows are damaged): what it held is computed again\n"
    assert capsys.readouterr().err == said
    after = Asked(ArrayCache(tmp_path))
    after(*names)
    assert after.made == []
    assert capsys.readouterr().err == ""


def test_a_damaged_row_is_not_copied_into_another_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Asked(ArrayCache(tmp_path))("a", "b")
    [file] = files(tmp_path)
    flip(file, file.read_bytes().index(row_of("b").tobytes()))
    ask = Asked(ArrayCache(tmp_path))
    assert np.array_equal(ask("b", "a", "c"), wanted("b", "a", "c"))
    assert ask.made == ["b", "c"]
    assert "1 of 2 rows are damaged" in capsys.readouterr().err


def test_a_turned_bit_in_the_header_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It may turn the order of bytes: all of them, and so all rows' checksums, would be right."""
    Asked(ArrayCache(tmp_path))("a", "b")
    [file] = files(tmp_path)
    at = file.read_bytes().index(b"<f4")
    data = bytearray(file.read_bytes())
    data[at] = ord(">")
    file.write_bytes(data)
    ask = Asked(ArrayCache(tmp_path))
    assert np.array_equal(ask("a", "b"), wanted("a", "b"))
    assert ask.made == ["a", "b"]
    assert "damaged (its index is damaged)" in capsys.readouterr().err


@given(data=st.data())
def test_any_bit_may_turn_and_any_end_be_missing(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Asked(ArrayCache(Path(folder)))("a", "b", "c")
        [file] = files(Path(folder))
        size = file.stat().st_size
        if data.draw(st.booleans(), "cut off"):
            os.truncate(file, data.draw(st.integers(0, size - 1)))
        else:
            flip(file, data.draw(st.integers(0, size - 1)))
        ask = Asked(ArrayCache(Path(folder)))
        assert np.array_equal(ask("a", "b", "c"), wanted("a", "b", "c"))
        assert ask.made


def test_a_file_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    ask = Asked(ArrayCache(tmp_path))
    ask("a")
    [file] = files(tmp_path)
    np.save(file, np.array([{"planted": 1}], dtype=object), allow_pickle=True)
    again = Asked(ArrayCache(tmp_path))
    assert np.array_equal(again("a"), wanted("a"))


def test_a_failed_computation_leaves_nothing(tmp_path: Path) -> None:
    def fail(missing: np.ndarray, put: Put) -> None:
        put(0, row_of("a")[None])
        raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        ArrayCache(tmp_path).rows("features", "t", row_keys("ab"), fail)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def _used_at(path: Path, seconds: float) -> None:
    os.utime(path, (seconds, seconds))


def test_what_was_used_longest_ago_goes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made: dict[str, Path] = {}
    for number, name in enumerate("abc"):
        Asked(ArrayCache(tmp_path), name)(name)
        [made[name]] = set(files(tmp_path)) - set(made.values())
        _used_at(made[name], 1000 + number)
    Asked(ArrayCache(tmp_path), "a")("a")  # used again, so b is the oldest now
    size = made["a"].stat().st_size
    Asked(ArrayCache(tmp_path, 3 * size / 1e9), "d")("d")
    assert not made["b"].exists()
    assert made["a"].exists() and made["c"].exists()
    assert capsys.readouterr().err.startswith("cache: removed 1 files (2")


def test_what_is_in_use_stays(tmp_path: Path) -> None:
    store = ArrayCache(tmp_path, 1e-9)
    first = Asked(store)("a", "b")
    Asked(store)("c")
    assert len(files(tmp_path)) == 2
    assert np.array_equal(first, wanted("a", "b"))
    Asked(ArrayCache(tmp_path, 1e-9))("d")
    assert len(files(tmp_path)) == 1
    assert np.array_equal(first, wanted("a", "b"))  # the mapping outlives the file


def test_files_of_others_count_and_stay(tmp_path: Path) -> None:
    (tmp_path / "facts.cache").write_bytes(bytes(5000))
    Asked(ArrayCache(tmp_path))("a")
    Asked(ArrayCache(tmp_path, 5e-6))("b")
    assert len(files(tmp_path)) == 1
    assert (tmp_path / "facts.cache").exists()


def test_what_a_killed_process_left_goes_after_a_while(tmp_path: Path) -> None:
    Asked(ArrayCache(tmp_path))("a")
    folder = files(tmp_path)[0].parent
    old, young = folder / ".x.1.part", folder / ".x.2.part"
    old.write_bytes(b"half"), young.write_bytes(b"half")
    _used_at(old, 1000)
    Asked(ArrayCache(tmp_path))("b")
    assert not old.exists() and young.exists()


_names = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6)
_steps = st.lists(st.tuples(_names, st.sampled_from(["same", "new", "tiny", "damage"])), max_size=8)


@given(steps=_steps)
def test_any_sequence_gives_what_no_cache_would(steps: list[tuple[list[str], str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = ArrayCache(Path(folder))
        given_out: list[tuple[Any, list[str]]] = []
        for names, step in steps:
            if step != "same":
                store = ArrayCache(Path(folder), 2e-7 if step == "tiny" else 1.0)
            if step == "damage" and (kept := files(Path(folder))):
                flip(kept[0], len(names) * 31 % kept[0].stat().st_size)
                given_out.clear()  # a mapping shows what becomes of its file, until a page of it was read
            given_out.append((Asked(store)(*names), names))
            for rows, made_of in given_out:
                assert np.array_equal(rows, wanted(*made_of))
