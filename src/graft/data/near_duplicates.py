"""Images that are the same, or nearly: exact copies by their pixels, near copies by 256-bit perceptual hashes.

Near duplicates are pairs of hashes at most ``distance`` bits apart, and every one of them is found. The algorithm is
multi-index hashing (Norouzi, Punjani and Fleet 2012): cut the 256 bits into m bands and give each a radius r so that
the sum of all r + 1 is ``distance`` + 1; then two hashes that near differ in at most r bits of at least one band. So
for every band the hashes are put into buckets, only buckets whose numbers are at most r bits apart are met, and only
what meets is compared. With 15 bands for 45 bits, a pair of unlike hashes meets with a probability of 0.023.

Cost: memory O(n). Time is n for the buckets that are looked up and n^2 for the pairs that meet, each with a factor that
hangs on the bands, and the bands are chosen so that the sum is least: the more hashes, the longer the bands, the rarer
a meeting (0.03 of the pairs of 10,000 hashes, 0.006 of those of a million). Up to the longest band the time so grows
with a power of n between 1 and 2; benchmarks/manifest.py measures it.
Equal hashes are put together first, so that a thousand copies are one item, not half a million pairs.

Why 45 bits (``validation.near_duplicate_distance``): a photograph that was scaled, compressed anew, made grey or
brighter, or cropped by 1%, is 0 to 42 bits from its original. In NEU steel the same spot taken twice is 30 to 78 bits
apart, and unlike pictures begin at 82; among 10,000 of CIFAR-10's pictures all 24 pairs up to 60 bits are of one
class. Unlike photographs of ants and bees begin at 90.

Pairs are joined transitively: for keeping copies out of both train and test that is the safe side. A looser distance
could chain a whole class together; the validation suite therefore reports clusters of a size that copies seldom have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_BITS = 256
# Bands longer than this would need tables of buckets that no cache of a processor holds.
_LONGEST_BAND = 22
_AT_ONCE = 1 << 18
# Measured: what it takes to look for a bucket, and to compare two hashes.
_LOOK_NS, _COMPARE_NS = 4.0, 25.0


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
    unlike = known[first[_close(unique, bands_for(len(unique), distance), distance)]]
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


@dataclass(frozen=True)
class Band:
    """Some neighbouring bits of a hash: the first, how many, and in how many of them two hashes may differ to meet."""

    start: int
    width: int
    radius: int


def bands_for(count: int, distance: int) -> tuple[Band, ...]:
    """The bands that take the least time for ``count`` hashes; every pair within ``distance`` meets in one of them."""
    fewest = -(-_BITS // _LONGEST_BAND)
    return min((cut(number, distance) for number in range(fewest, 33)), key=lambda bands: _nanoseconds(bands, count))


def cut(number: int, distance: int) -> tuple[Band, ...]:
    """``number`` bands of all bits, with radii so that the sum of radius + 1 is ``distance`` + 1; at -1 it is left out.

    Were a pair further apart than the radius in every band, it would be at least that sum apart.
    """
    ends = [_BITS * band // number for band in range(number + 1)]
    low, more = divmod(distance + 1, number)
    radii = [low - 1 + (band < more) for band in range(number)]
    return tuple(
        Band(ends[band], ends[band + 1] - ends[band], radii[band]) for band in range(number) if radii[band] >= 0
    )


def _nanoseconds(bands: tuple[Band, ...], count: int) -> float:
    """What a search is expected to take if the hashes are random."""
    total = 0.0
    for band in bands:
        near = sum(comb(band.width, bits) for bits in range(band.radius + 1))
        total += near * count * _LOOK_NS + near / 2**band.width * count**2 / 2 * _COMPARE_NS
    return total


def _close(packed: NDArray[np.uint8], bands: tuple[Band, ...], distance: int) -> Ints:
    """Pairs of rows of (n, 32) distinct hashes at most ``distance`` bits apart; a pair may come more than once."""
    words = np.ascontiguousarray(packed).view(np.uint64)
    found = [np.empty((0, 2), dtype=np.int64)]
    for band in bands:
        keys = _keys(words, band)
        # In the order of the band, so that what is compared lies together in memory: three times faster.
        order = np.argsort(keys, kind="stable")
        columns = [np.ascontiguousarray(words[order, column]) for column in range(words.shape[1])]
        for left, right in _candidates(keys[order], band):
            apart = np.bitwise_count(columns[0][left] ^ columns[0][right])
            for column in columns[1:]:
                # Unlike pairs are given up as soon as they are too far apart, most of them half-way.
                apart += np.bitwise_count(column[left] ^ column[right])
                near = np.flatnonzero(apart <= distance)
                left, right, apart = left[near], right[near], apart[near]
            found.append(np.stack([order[left], order[right]], axis=1))
    return np.concatenate(found)


def _keys(words: NDArray[np.uint64], band: Band) -> Ints:
    """The bits of a band as a number for each row of (n, 4) words."""
    word, shift = divmod(band.start, 64)
    keys = words[:, word] >> np.uint64(shift)
    if shift + band.width > 64:
        keys |= words[:, word + 1] << np.uint64(64 - shift)
    return (keys & np.uint64((1 << band.width) - 1)).astype(np.int64)


def _candidates(keys: Ints, band: Band) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of places in sorted ``keys`` that differ in at most the band's radius, each once, some at a time."""
    sizes = np.bincount(keys, minlength=1 << band.width)
    starts = np.cumsum(sizes) - sizes
    used = sizes > 0
    places = np.arange(len(keys))
    # Within one bucket: each item with those after it.
    yield from _expand(places, places + 1, starts[keys] + sizes[keys] - places - 1)
    for bits in range(1, band.radius + 1):
        for mask in (sum(1 << bit for bit in chosen) for chosen in combinations(range(band.width), bits)):
            # Between two buckets: each pair of them is met twice, and taken from the one without the highest bit.
            here = np.flatnonzero(used[keys ^ mask])
            here = here[keys[here] & (1 << (mask.bit_length() - 1)) == 0]
            other = keys[here] ^ mask
            yield from _expand(here, starts[other], sizes[other])


def _expand(items: Ints, first: Ints, counts: Ints) -> Iterator[tuple[Ints, Ints]]:
    """For each item i the pairs (i, first[i]) ... (i, first[i] + counts[i] - 1), about ``_AT_ONCE`` at a time."""
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(items):
        done = int(ends[begin - 1]) if begin else 0
        stop = max(begin + 1, int(np.searchsorted(ends, done + _AT_ONCE, side="right")))
        many = counts[begin:stop]
        left = np.repeat(items[begin:stop], many)
        # Where each item's pairs begin, counted back from the running number of the pair.
        right = np.arange(len(left)) + np.repeat(first[begin:stop] - (ends[begin:stop] - many - done), many)
        yield left, right
        begin = stop
