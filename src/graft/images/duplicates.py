"""Images that are the same, or nearly: exact copies by their pixels, near copies by 256-bit perceptual hashes.

Near duplicates are pairs of hashes at most ``distance`` bits apart. They are found by the pigeonhole rule: cut the
256 bits into 16 bands of 16 bits; two hashes that differ in at most ``distance`` bits differ in at most
``distance // 16`` bits of at least one band. So for every band the hashes are put into 65,536 buckets, and only the
buckets whose numbers are that few bits apart are compared: with the default distance 137 of the 65,536.

Cost: memory O(n); time is n sorted per band, and about n * n / 60 comparisons of 32 bytes (n * n / 480 for a distance
under 32), each in vectorised steps: 10,000 random hashes take 0.5 s and 100,000 take 8 s. Equal hashes are put together
first, so that a thousand copies are one item, not half a million pairs.

Why 45 bits (``validation.near_duplicate_distance``): a photograph that was scaled, compressed anew, made grey or
brighter, or cropped by 1%, is 0 to 42 bits from its original. In NEU steel the same spot taken twice is 30 to 78 bits
apart, and unlike pictures begin at 82; among 10,000 of CIFAR-10's pictures all 24 pairs up to 60 bits are of one
class. Unlike photographs of ants and bees begin at 90.

Pairs are joined transitively: for keeping copies out of both train and test that is the safe side. A looser distance
could chain a whole class together; the validation suite therefore reports clusters of a size that copies seldom have.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_BAND_BITS = 16
_AT_ONCE = 1 << 20


def cluster_duplicates(manifest: pd.DataFrame, distance: int) -> Ints:
    """One whole number per row; rows with the same number show the same image. Undecodable rows stand alone.

    Args:
        manifest: with ``pixel_sha256`` and ``phash``, either of which may be missing.
        distance: most differing bits (of 256) of two near duplicates; 0 takes equal hashes only.

    Returns:
        The position of each cluster's first row, so numbers do not depend on how pairs were found.
    """
    exact = _codes(manifest["pixel_sha256"])
    near = near_pairs(manifest["phash"], distance)
    return join(len(manifest), [_equal_pairs(exact), near])


def near_pairs(hashes: pd.Series, distance: int) -> Ints:
    """Pairs of positions (m, 2), sorted, whose hashes differ in at most ``distance`` bits; equal ones chained."""
    known = np.flatnonzero(hashes.notna().to_numpy())
    if len(known) < 2:
        return np.empty((0, 2), dtype=np.int64)
    packed = np.frombuffer(bytes.fromhex("".join(hashes.iloc[known])), dtype=np.uint8).reshape(len(known), -1)
    unique, inverse = np.unique(packed, axis=0, return_inverse=True)
    equal = known[_equal_pairs(inverse.reshape(-1).astype(np.int64))]
    first = np.full(len(unique), len(known), dtype=np.int64)
    np.minimum.at(first, inverse.reshape(-1), np.arange(len(known)))
    unlike = known[first[_close(unique, distance)]]
    pairs = np.sort(np.concatenate([equal.reshape(-1, 2), unlike.reshape(-1, 2)]), axis=1)
    return np.asarray(np.unique(pairs, axis=0), dtype=np.int64)


def join(count: int, links: list[Ints]) -> Ints:
    """Connected components of pairs over ``count`` items, each named by its first item."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = np.concatenate([np.empty((0, 2), dtype=np.int64), *links])
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    total, labels = connected_components(graph, directed=False)
    first = np.full(total, count, dtype=np.int64)
    np.minimum.at(first, labels, np.arange(count))
    return np.asarray(first[labels], dtype=np.int64)


def chain_equal(values: pd.Series) -> Ints:
    """Pairs (m, 2) that link the rows of equal value; missing values are equal to nothing."""
    return _equal_pairs(_codes(values))


def _codes(values: pd.Series) -> Ints:
    """A number per distinct value, and -1 where it is missing."""
    import pandas as pd

    return np.asarray(pd.factorize(values)[0], dtype=np.int64)


def _equal_pairs(codes: Ints) -> Ints:
    """Link each item to the next one of the same code; codes below 0 are linked to nothing."""
    order = np.argsort(codes, kind="stable")
    sorted_codes = codes[order]
    same = (sorted_codes[1:] == sorted_codes[:-1]) & (sorted_codes[1:] >= 0)
    return np.stack([order[:-1][same], order[1:][same]], axis=1)


def _close(packed: NDArray[np.uint8], distance: int) -> Ints:
    """Pairs of rows of (n, 32) distinct hashes at most ``distance`` bits apart; a pair may come more than once."""
    words = np.ascontiguousarray(packed).view(np.uint64)
    bands = np.ascontiguousarray(packed).view(np.uint16)
    found = [np.empty((0, 2), dtype=np.int64)]
    for band in range(bands.shape[1]):
        # In the order of the band, so that what is compared lies together in memory: three times faster.
        order = np.argsort(bands[:, band], kind="stable")
        columns = [np.ascontiguousarray(words[order, column]) for column in range(words.shape[1])]
        for left, right in _candidates(bands[order, band].astype(np.int64), distance // _BAND_BITS):
            apart = np.zeros(len(left), dtype=np.uint8)
            for column in columns:
                # Unlike pairs are given up as soon as they are too far apart, most of them half-way.
                apart += np.bitwise_count(column[left] ^ column[right])
                near = np.flatnonzero(apart <= distance)
                left, right, apart = left[near], right[near], apart[near]
            found.append(np.stack([order[left], order[right]], axis=1))
    return np.concatenate(found)


def _candidates(keys: Ints, radius: int) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of places in sorted 16-bit ``keys`` that differ in at most ``radius`` bits, each once, some at a time."""
    sizes = np.bincount(keys, minlength=1 << _BAND_BITS)
    starts = np.cumsum(sizes) - sizes
    places = np.arange(len(keys))
    for mask in _masks(radius):
        other = keys ^ mask
        if mask == 0:
            # Within one bucket: each item with those after it.
            first = places + 1
            counts = starts[keys] + sizes[keys] - first
        else:
            # Between two buckets: each pair of them is met twice, and taken from the lower one.
            first = starts[other]
            counts = np.where(keys < other, sizes[other], 0)
        yield from _expand(first, counts)


def _masks(radius: int) -> list[int]:
    """All 16-bit numbers with at most ``radius`` bits set."""
    return [
        sum(1 << bit for bit in bits) for count in range(radius + 1) for bits in combinations(range(_BAND_BITS), count)
    ]


def _expand(first: Ints, counts: Ints) -> Iterator[tuple[Ints, Ints]]:
    """For each item i the pairs (i, first[i]) ... (i, first[i] + counts[i] - 1), about ``_AT_ONCE`` at a time."""
    items = np.flatnonzero(counts)
    ends = np.cumsum(counts[items])
    begin = 0
    while begin < len(items):
        done = int(ends[begin - 1]) if begin else 0
        stop = max(begin + 1, int(np.searchsorted(ends, done + _AT_ONCE, side="right")))
        part = items[begin:stop]
        left = np.repeat(part, counts[part])
        offsets = np.arange(len(left)) - np.repeat(ends[begin:stop] - counts[part] - done, counts[part])
        yield left, first[left] + offsets
        begin = stop
