"""The table of modalities, and the one that ``data.modality`` names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graft.core.errors import ConfigError, did_you_mean
from graft.modalities.base import Modality
from graft.modalities.image.modality import ImageModality

if TYPE_CHECKING:
    from graft.modalities.preprocessor import Preprocessor

MODALITIES: dict[str, Modality] = {"image": ImageModality()}
# What `auto` stands for as long as there is one modality.
DEFAULT = MODALITIES["image"]
# The manifest's columns that do not depend on the modality.
BASE_COLUMNS = frozenset(
    {"path", "label", "split", "group", "source", "quarantine", "fold", "bytes", "sha256", "problems"}
)


def find_modality(name: str) -> Modality:
    """The modality that ``data.modality`` names.

    Raises:
        ConfigError: there is no such modality.
    """
    found = DEFAULT if name == "auto" else MODALITIES.get(name)
    if found is None:
        raise ConfigError(
            f"there is no modality {name!r}", where="data.modality", remedy=did_you_mean(name, ["auto", *MODALITIES])
        )
    return found


def preprocessor_from_json(card: Mapping[str, Any]) -> Preprocessor:
    """From :meth:`Preprocessor.to_json`. Raises KeyError for a kind that is no modality."""
    return MODALITIES[card.get("kind", DEFAULT.name)].preprocessor(card)


def modality_of(preprocessor: Preprocessor) -> Modality:
    """What a model's samples are."""
    return MODALITIES[preprocessor.kind]


def reserved_columns() -> frozenset[str]:
    """Column names that graft writes itself, which no column of a user's table can have."""
    keys = {column for item in MODALITIES.values() for column in (item.fingerprint_column, item.near_key_column)}
    return BASE_COLUMNS.union(keys, *(item.statistics for item in MODALITIES.values()))
