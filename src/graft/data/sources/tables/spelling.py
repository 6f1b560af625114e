"""Labels up to case, white space and Unicode form."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable


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
