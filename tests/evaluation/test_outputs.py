"""What the stage `score` hands to `evaluate`: outputs and novelty to the bit, and only of the same images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from graft.calibration.fitted_trust import FittedTrust, Temperature
from graft.core.errors import DataError
from graft.evaluation.evaluation import ModelOutputs
from graft.evaluation.held_out import HeldOutSet
from graft.evaluation.outputs import outputs_frame, read_outputs

TRUST = FittedTrust(Temperature(2.0, 1.5, 2.5, 90, None))


def held_out(count: int, names: tuple[str, ...] = ("ant", "path", "novelty")) -> HeldOutSet:
    """Classes may be called as columns are."""
    places = np.arange(count)
    return HeldOutSet(names, tuple(f"{i}.png" for i in places), places % len(names), places, np.full(len(names), 5))


@st.composite
def said(draw: st.DrawFn) -> ModelOutputs:
    count = draw(st.integers(1, 12))
    values = st.floats(0, 1, allow_nan=False)
    novelty = draw(st.none() | arrays(np.float64, (count,), elements=st.floats(0, 1e6, allow_nan=False)))
    return ModelOutputs(draw(arrays(np.float64, (count, 3), elements=values)), TRUST, novelty)


@given(given=said())
def test_what_is_written_is_read_to_the_bit(given: ModelOutputs, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("outputs") / "outputs.parquet"
    images = held_out(len(given.outputs))
    outputs_frame(images, given).to_parquet(path, index=False)
    read = read_outputs(path, images, TRUST)
    assert read.outputs.tobytes() == given.outputs.tobytes() and read.trust is TRUST
    if given.novelty is None:
        assert read.novelty is None
    else:
        assert read.novelty is not None and read.novelty.tobytes() == given.novelty.tobytes()


def test_columns_are_named_after_the_classes() -> None:
    said = ModelOutputs(np.eye(3), TRUST, np.zeros(3))
    names = ["path", "output:ant", "output:path", "output:novelty", "novelty"]
    assert outputs_frame(held_out(3), said).columns.tolist() == names


def test_a_table_of_other_images_classes_or_order_is_refused(tmp_path: Path) -> None:
    """A model's answers would be held against other images' labels."""
    path, images = tmp_path / "outputs.parquet", held_out(3)
    outputs_frame(images, ModelOutputs(np.eye(3), TRUST)).to_parquet(path, index=False)
    others = (
        held_out(4),
        held_out(2),
        dataclasses.replace(images, paths=images.paths[::-1]),
        dataclasses.replace(images, classes=("ant", "path", "wasp")),
    )
    for other in others:
        with pytest.raises(DataError) as refused:
            read_outputs(path, other, TRUST)
        assert refused.value.what == "the table of the model's outputs is of other images"
        assert (refused.value.where, refused.value.remedy) == (str(path), "run `.venv/bin/dvc repro`")


def test_columns_in_another_order_are_taken_by_name(tmp_path: Path) -> None:
    path, images = tmp_path / "outputs.parquet", held_out(3)
    table = outputs_frame(images, ModelOutputs(np.eye(3), TRUST))
    pd.DataFrame(table[table.columns[::-1]]).to_parquet(path, index=False)
    assert np.array_equal(read_outputs(path, images, TRUST).outputs, np.eye(3))


def test_where_nothing_was_scored_yet_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the model was not run on the test images yet"):
        read_outputs(tmp_path / "outputs.parquet", held_out(3), TRUST)
