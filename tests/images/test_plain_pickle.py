"""Pickles read without unpickling: the same values as Python gives, and never any code of the file's."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.errors import DataError
from graft.images.plain_pickle import read_plain
from tests.images.torchvision_files import python2_pickle

texts = st.text(st.characters(max_codepoint=255), max_size=300)
plain = st.recursive(
    st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.booleans() | st.none() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4) | st.tuples(inner)
    ),
    max_leaves=12,
)


@given(labels=st.lists(st.integers(0, 255), min_size=1, max_size=20), name=texts, seed=st.integers(0, 99))
def test_cifars_own_form_gives_what_python_gives(labels: list[int], name: str, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 300), dtype=np.uint8)
    data = python2_pickle({"batch_label": name, "labels": labels, "data": pixels})
    oracle = pickle.loads(data, encoding="latin1")
    found = read_plain(data)
    assert np.array_equal(found.pop("data"), oracle.pop("data"))
    assert found == oracle == {"batch_label": name, "labels": labels}


@given(value=plain, protocol=st.integers(0, 2))
def test_plain_values_of_every_old_protocol(value: Any, protocol: int) -> None:
    assert read_plain(pickle.dumps(value, protocol)) == value


class Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_pickle_is_refused_and_never_run(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps({"labels": [1], "data": Attack(tmp_path / "owned")}, protocol)
    with pytest.raises(DataError, match="the file holds more than plain data and is refused"):
        read_plain(data)
    assert not (tmp_path / "owned").exists()


def test_arrays_of_other_than_bytes_are_refused() -> None:
    for value in (np.array([1.5]), np.array([object()])):
        with pytest.raises(DataError, match="refused"):
            read_plain(pickle.dumps({"data": value}, 2))


@given(data=st.binary(max_size=60), cut=st.integers(0, 200))
def test_damaged_files_end_in_a_message(data: bytes, cut: int) -> None:
    whole = python2_pickle({"labels": [1, 2], "data": np.zeros((2, 300), dtype=np.uint8)})
    for damaged in (data, whole[:cut], whole[:cut] + data + whole[cut:]):
        try:
            read_plain(damaged)
        except DataError as error:
            assert error.remedy == "get it again"
