"""Compare labels and paths up to case, white space and Unicode form."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path


def label_key(label: str) -> str:
    """The key that all spellings of a label share.

    Case, white space, Unicode form and invisible characters make no other label; but of a single character the case
    does, since ``a`` and ``A`` are two glyphs.
    """
    visible = "".join(char for char in tidy(label) if unicodedata.category(char) != "Cf").strip()
    return visible if len(visible) == 1 else unicodedata.normalize("NFC", visible.lower())


def tidy(label: str) -> str:
    """A label in Unicode's composed form, without white space around it and with single spaces in it."""
    return " ".join(unicodedata.normalize("NFC", label).split())


def spellings(labels: Iterable[str]) -> dict[str, Counter[str]]:
    """Count the spellings of each label, by its key."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for label, count in Counter(labels).items():
        found[label_key(label)][label] += count
    return found


def usual_spelling(counts: Counter[str]) -> str:
    """The most frequent spelling, tidied; of equals the first in the alphabet."""
    tidied: Counter[str] = Counter()
    for label, count in counts.items():
        tidied[tidy(label)] += count
    return min(tidied, key=lambda label: (-tidied[label], label))


def is_file(path: Path) -> bool:
    """Whether there is such a file; names that no file system takes give False."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def find_similar_path(home: Path, name: str, folders: dict[Path, dict[str, list[str]]]) -> str | None:
    """The one file whose path is ``name`` but for case, Unicode form, outer white space, or ``\\`` for ``/``."""
    current = home
    parts = name.strip().replace("\\", "/").split("/")
    for part in parts:
        if not part or part in {".", ".."}:
            current = current / part
            continue
        if current not in folders:
            folders[current] = _by_key(current)
        same = folders[current].get(_name_key(part), [])
        if part not in same and len(same) != 1:
            return None
        current = current / (part if part in same else same[0])
    return os.path.relpath(current, home) if is_file(current) else None


def _by_key(folder: Path) -> dict[str, list[str]]:
    names: dict[str, list[str]] = defaultdict(list)
    try:
        for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names are all that is wanted, and there may be many
            names[_name_key(name)].append(name)
    except (OSError, ValueError):
        return {}
    return names


def _name_key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
