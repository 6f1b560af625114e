"""A small second modality for tests: a sample is a text file of numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graft.core.errors import DataError
from graft.core.settings import Params
from graft.modalities.base import ColumnType, FileField, JsonField, Modality, Statistic, column_feature
from graft.modalities.check_spec import BETWEEN, CheckSpec
from tests.modalities.vector_network import VectorPreprocessor

Vector = NDArray[np.float64]


class VectorModality(Modality):
    """Vectors are near each other where all but a few of their signs are equal."""

    name = "vector"
    suffixes, unreadable_suffixes = frozenset({".vec"}), frozenset({".npy"})
    statistics: Mapping[str, ColumnType] = {"length": "int64", "norm": "float64"}
    fingerprint_column, near_key_column = "values_sha256", "signs"
    checks = (
        CheckSpec(
            "norm",
            "images",
            "warning",
            BETWEEN,
            "norm",
            lambda limits: {"min_value": 0.1},
            lambda limits: "no vector is nearly zero",
            "look at them",
            found="norm {}",
        ),
    )
    drift_features = (column_feature("norm", "number"), column_feature("label", "category", name="class"))
    slice_features = (column_feature("norm", "number"),)
    request: FileField | JsonField = FileField("vector", "numbers.vec")
    request_features = (column_feature("norm", "number"),)
    code = ()

    def decode(self, raw: bytes) -> Vector:
        return read_vector(raw)

    def stats(self, sample: Vector) -> Mapping[str, Statistic]:
        return {"length": len(sample), "norm": float(np.linalg.norm(sample))}

    def fingerprint(self, sample: Vector) -> str:
        return hashlib.sha256(sample.tobytes()).hexdigest()

    def near_key(self, sample: Vector) -> bytes | None:
        return np.packbits(np.append(sample, np.zeros(128))[:128] > 0).tobytes()

    def preview(self, raw: bytes) -> str:
        return f"<code>{len(raw.split())} numbers</code>"

    def check_columns(self, manifest: pd.DataFrame, params: Params) -> pd.DataFrame:
        return manifest

    def preprocessor(self, card: Mapping[str, Any]) -> VectorPreprocessor:
        return VectorPreprocessor.from_json(card)

    def request_stats(self, raw: bytes, row: NDArray[Any]) -> Mapping[str, float]:
        return {"length": len(raw.split()), "norm": float(np.linalg.norm(read_vector(raw)))}

    def example(self) -> bytes:
        return b"0.5 -0.5"

    def library_versions(self) -> Sequence[str]:
        return [f"numpy {np.__version__}"]


def read_vector(raw: bytes) -> Vector:
    """Numbers with spaces between. Raises DataError."""
    try:
        return np.array([float(word) for word in raw.split()])
    except ValueError:
        raise DataError("this is not a vector of numbers", remedy="write numbers") from None


def write_vectors(folder: Path, counts: Mapping[str, int], seed: int = 0) -> Path:
    """Write ``folder/<class>/<number>.vec`` of 128 random numbers each."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            write_vector(folder / name / f"{number:03d}.vec", rng.normal(size=128))
    return folder


def write_vector(path: Path, values: Vector) -> None:
    path.write_text(" ".join(map(repr, values.tolist())))
