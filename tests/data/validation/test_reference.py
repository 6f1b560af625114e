"""What data is compared with: the data before it, however often it is validated, and whatever happens in between."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from graft.core.errors import DataError
from graft.data.validation.reference import DataSummary, ValidationHistory, read_history, write_history
from graft.data.validation.reference import summarise_data as summarise
from graft.modalities.image.modality import ImageModality
from graft.tasks.registry import CLASSIFICATION
from tests.data.validation.faults import clean_manifest


def summarise_data(manifest: pd.DataFrame) -> DataSummary:
    return summarise(manifest, ImageModality(), CLASSIFICATION)


def manifest(brightness: float) -> pd.DataFrame:
    """Other pixels for other brightnesses."""
    table = clean_manifest()
    return table.assign(
        brightness=table["brightness"] * brightness, pixel_sha256=table["pixel_sha256"] + f"{brightness}"
    )


FIRST, SECOND, THIRD = (summarise_data(manifest(factor)) for factor in (1.0, 0.5, 0.25))


def test_the_first_data_is_compared_with_nothing() -> None:
    assert ValidationHistory().reference(FIRST) is None
    assert ValidationHistory().passed(FIRST).reference(FIRST) is None


def test_data_is_compared_with_the_last_other_data_however_often() -> None:
    history = ValidationHistory().passed(FIRST)
    assert history.reference(SECOND) == FIRST.distributions
    again = history.passed(SECOND)
    assert again.reference(SECOND) == FIRST.distributions
    assert again.passed(SECOND) == again
    assert again.reference(THIRD) == SECOND.distributions
    assert again.passed(THIRD).reference(THIRD) == SECOND.distributions
    assert again.passed(FIRST).reference(FIRST) == SECOND.distributions


def test_it_is_kept_whole_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "data/validated.json"
    assert read_history(file) == ValidationHistory()
    history = ValidationHistory().passed(FIRST).passed(SECOND)
    write_history(file, history)
    assert read_history(file) == history
    assert file.stat().st_size < 50_000
    written = file.read_bytes()
    write_history(file, read_history(file))
    assert file.read_bytes() == written


def test_the_same_images_are_the_same_data_by_any_name_and_in_any_order() -> None:
    renamed = manifest(1.0).sample(frac=1, random_state=1)
    renamed["path"] = renamed["path"] + ".png"
    assert summarise_data(renamed) == FIRST
    relabelled = manifest(1.0)
    relabelled.loc[0, "label"] = "dog"
    assert summarise_data(relabelled).fingerprint != FIRST.fingerprint


def test_what_cannot_be_decoded_is_no_part_of_the_data() -> None:
    table = manifest(1.0)
    table.loc[0, "problems"] = "it ends too soon"
    assert summarise_data(table) == summarise_data(table.iloc[1:])


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 2}', '{"format": 2, "history": {"last": {"distributions": 1}}}']
)
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, text: str) -> None:
    file = tmp_path / "validated.json"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        read_history(file)
    assert caught.value.what.startswith("the summary of the last validated data is damaged: ")
    assert caught.value.where == str(file)
    assert caught.value.remedy is not None and caught.value.remedy.startswith("delete it")


def test_a_file_of_another_version_is_no_reason_to_stop(tmp_path: Path) -> None:
    file = tmp_path / "validated.json"
    file.write_text('{"format": 1}')
    assert read_history(file) == ValidationHistory()
