"""Copies and near copies: clusters of samples of equal fingerprint, or whose near keys differ in a few bits.

Keys (for images 256-bit perceptual hashes) are compared pairwise by one matrix product: with bits written as -1 and 1,
the product of two keys is their length less twice their Hamming distance. That is exact in 32 bits, and takes 13 s of
processor time for 50,000 keys of 256 bits (benchmarks/manifest.py). scikit-learn's radius neighbours give the same
pairs in 64 bits and each pair twice; trees gain nothing at 45 of 256 bits. Buckets (16 chunks of 16 bits, of which one
differs in at most 2) leave 3% of the pairs to compare: 3.9 s instead of 5.4 for 50,000 keys on two cores, which does
not pay for their code and for memory that hangs on the data.

Why 45 bits (``validation.near_duplicate_distance``): a photograph that was scaled, compressed again, made grey or
brighter, or cropped by 1%, is 0 to 42 bits from its original. In NEU steel the same spot taken twice is 30 to 78 bits
apart, and unlike images begin at 82; among 10,000 of CIFAR-10's images all 24 pairs up to 60 bits are of one class.
Unlike photographs of ants and bees begin at 90.

Clusters are transitive: for keeping copies out of both train and test that is the safe side. A larger distance could
chain a whole class together; validation therefore reports clusters of a size that copies seldom have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_ROWS_AT_ONCE = 512


def cluster_duplicates(rows: pd.DataFrame, distance: int) -> Ints:
    """For each row the position of the first row of its cluster. Rows without keys stand alone.

    Args:
        rows: with ``fingerprint`` and ``near_key`` (hexadecimal), either of which may be missing.
        distance: most differing bits of two near copies; 0 takes equal keys only.
    """
    clusters = join(len(rows), [chain_equal(rows["fingerprint"]), chain_equal(rows["near_key"])])
    distinct = np.flatnonzero((rows["near_key"].notna() & ~rows["near_key"].duplicated()).to_numpy(dtype=bool))
    if distance and len(distinct) > 1:
        packed = np.frombuffer(bytes.fromhex("".join(rows["near_key"].iloc[distinct])), dtype=np.uint8)
        for pairs in near_pairs(packed.reshape(len(distinct), -1), distance):
            # Joined block by block: where everything is near everything, all pairs at once would not fit.
            clusters = join(len(rows), [_links(clusters), distinct[pairs]])
    return clusters


def near_pairs(keys: NDArray[np.uint8], distance: int) -> Iterator[Ints]:
    """Pairs of rows (m, 2), the lower first, of keys (n, bytes) at most ``distance`` bits apart, in blocks."""
    signs = np.unpackbits(keys, axis=1).astype(np.float32) * 2 - 1
    least = signs.shape[1] - 2 * distance
    for start in range(0, len(signs), _ROWS_AT_ONCE):
        left, right = np.nonzero(signs[start : start + _ROWS_AT_ONCE] @ signs[start:].T >= least)
        pairs = np.stack([left, right], axis=1)[left < right]
        if len(pairs):
            yield pairs + start


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
    """Pairs (m, 2) that link each row to the next one of equal value; missing values are equal to nothing."""
    import pandas as pd

    codes = np.asarray(pd.factorize(values)[0], dtype=np.int64)
    order = np.argsort(codes, kind="stable")
    same = (codes[order][1:] == codes[order][:-1]) & (codes[order][1:] >= 0)
    return np.stack([order[:-1][same], order[1:][same]], axis=1)


def _links(clusters: Ints) -> Ints:
    return np.stack([np.arange(len(clusters)), clusters], axis=1)
