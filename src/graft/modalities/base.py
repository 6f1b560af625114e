"""The protocol of a modality: everything that data, training, evaluation and service ask about samples.

To add a modality, implement :class:`Modality` with its :class:`graft.modalities.preprocessor.Preprocessor`, add it to
:data:`graft.modalities.registry.MODALITIES`, and its architectures to :data:`graft.models.zoo.registry.BUILDERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.core.settings import Params
    from graft.modalities.check_spec import CheckSpec
    from graft.modalities.preprocessor import Preprocessor

Statistic = str | int | float | None
ColumnType = Literal["int64", "float64", "string"]
FeatureKind = Literal["number", "category"]


@dataclass(frozen=True)
class Feature:
    """A value of each sample whose distribution is compared (drift) or by which samples are sliced (evaluation).

    Attributes:
        name: for people.
        columns: the columns it is computed from; a table without them does not have the feature.
        values: a table -> one value per row.
        kind: ``number`` or ``category``.
        unit: for people, with a leading space.
    """

    name: str
    columns: tuple[str, ...]
    values: Callable[[pd.DataFrame], pd.Series]
    kind: FeatureKind
    unit: str = ""

    def is_in(self, table: pd.DataFrame) -> bool:
        """Whether ``table`` has all columns that the feature needs."""
        return set(self.columns) <= set(table.columns)


def column_feature(column: str, kind: FeatureKind, unit: str = "", name: str = "") -> Feature:
    """A feature that is one column as it stands."""
    return Feature(name or column, (column,), lambda table: table[column], kind, unit)


@dataclass(frozen=True)
class FileField:
    """A request carries a sample as the file of a multipart form: the field's name, and a file's name to show it by."""

    name: str
    example: str


@dataclass(frozen=True)
class JsonField:
    """A request carries a sample as text in a JSON object: the field's name, and a text to show it by."""

    name: str
    example: str


def is_sample(name: str, modality: Modality) -> bool:
    """Whether a file is a sample by its name, readable or not."""
    return PurePath(name).suffix.lower() in modality.suffixes | modality.unreadable_suffixes


def with_article(noun: str) -> str:
    """``an image``, ``a text``."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def not_a_sample(modality: Modality) -> str:
    """Why a file of another name is skipped."""
    return f"not {with_article(modality.name)} by its name"


class Modality(Protocol):
    """One kind of sample.

    Attributes:
        name: its value in ``data.modality``.
        suffixes: how names of its files end, lower case with the dot.
        unreadable_suffixes: files that people take for samples of it and that cannot be read; they are ingested, and
            reported as undecodable rather than skipped in silence.
        statistics: the manifest's columns that :meth:`stats` fills, each with its type.
        fingerprint_column, near_key_column: the manifest's columns of :meth:`fingerprint` and :meth:`near_key`.
        checks: its rows of the expectations, in the order of the report.
        drift_features: what is compared between data sets.
        slice_features: by what the evaluation slices the test samples.
        request: how a request of the service carries a sample.
        request_features: of the columns of :meth:`request_stats`: what is compared between requests and training.
        code: files of graft (relative to its package) that decide statistics and keys; a change computes them anew.
    """

    name: str
    suffixes: frozenset[str]
    unreadable_suffixes: frozenset[str]
    statistics: Mapping[str, ColumnType]
    fingerprint_column: str
    near_key_column: str
    checks: Sequence[CheckSpec]
    drift_features: Sequence[Feature]
    slice_features: Sequence[Feature]
    request: FileField | JsonField
    request_features: Sequence[Feature]
    code: Sequence[str]

    def decode(self, raw: bytes) -> Any:
        """Read a file's bytes; what they are decoded to is the modality's own.

        Raises:
            DataError: they are not a sample that can be used; says what is wrong and the remedy.
        """
        ...

    def stats(self, sample: Any) -> Mapping[str, Statistic]:
        """Its values of the columns :attr:`statistics`."""
        ...

    def fingerprint(self, sample: Any) -> str:
        """Equal for equal content, whatever the file format."""
        ...

    def near_key(self, sample: Any) -> bytes | None:
        """A hash of fixed length whose Hamming distance is small for near content; None where it would mean nothing."""
        ...

    def preview(self, raw: bytes) -> str:
        """A self-contained piece of HTML that shows the sample; empty where it cannot be decoded."""
        ...

    def check_columns(self, manifest: pd.DataFrame, params: Params) -> pd.DataFrame:
        """The manifest with the derived columns that :attr:`checks` read under these settings."""
        ...

    def preprocessor(self, card: Mapping[str, Any]) -> Preprocessor:
        """From :meth:`graft.modalities.preprocessor.Preprocessor.to_json`. Raises KeyError, TypeError or ValueError."""
        ...

    def request_stats(self, raw: bytes, row: NDArray[Any]) -> Mapping[str, float]:
        """What the prediction log keeps of a sample, given its bytes and what the model's loader made of them."""
        ...

    def example(self) -> bytes:
        """A small sample, by which a service warms up."""
        ...

    def library_versions(self) -> Sequence[str]:
        """Versions of the libraries that decide statistics and keys."""
        ...
