"""Duplicates: every pair within the distance is found, none beyond it, and clusters and groups join transitively."""

from __future__ import annotations

from itertools import pairwise
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from graft.core.errors import DataError
from graft.data.near_duplicates import _close, bands_for, cluster_duplicates, cut, near_pairs
from graft.data.splits.groups import group_rows, refuse_conflicts
from graft.modalities.image.stats import examine


def text(hashes: np.ndarray) -> list[str]:
    return [row.tobytes().hex() for row in hashes]


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.sampled_from([0, 1, 15, 16, 31, 45, 63]))
def test_the_search_finds_exactly_what_comparing_all_pairs_finds(seed: int, count: int, distance: int) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (count, 256), dtype=np.uint8)
    for row in range(1, count):
        # Most are altered copies of an earlier one, so that there are pairs at every distance.
        if rng.random() < 0.8:
            bits[row] = bits[rng.integers(row)]
            bits[row, rng.permutation(256)[: rng.integers(0, 80)]] ^= 1
    apart = (bits[:, None] != bits[None]).sum(axis=2)
    expected = {(a, b) for a in range(count) for b in range(a + 1, count) if apart[a, b] <= distance}
    hashes = pd.Series(text(np.packbits(bits, axis=1)), dtype="str")
    found = {(int(a), int(b)) for a, b in near_pairs(hashes, distance)}
    assert found <= expected
    # Equal hashes are chained, so their pairs need only be connected: compare what is joined, not the pairs.
    manifest = pd.DataFrame({"pixel_sha256": [f"{row}" for row in range(count)], "phash": hashes})
    clusters = cluster_duplicates(manifest, distance)
    _, joined = connected_components(apart <= distance, directed=False)
    assert clusters.tolist() == [int(np.flatnonzero(joined == number)[0]) for number in joined]


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 63), st.integers(12, 32))
def test_every_way_of_cutting_finds_every_pair_and_nothing_else(seed: int, distance: int, number: int) -> None:
    """All pairs, not clusters, with pairs planted at exactly the distance and one bit beyond it."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (24, 256), dtype=np.uint8)
    for row in range(1, 24):
        bits[row] = bits[rng.integers(row)]
        # Spread evenly or in one place: the worst cases of the pigeonholes.
        places = rng.permutation(256) if row % 2 else (rng.integers(256) + np.arange(256)) % 256
        bits[row, places[: distance + row % 3 - 1 if distance else row % 3]] ^= 1
    _, rows = np.unique(np.packbits(bits, axis=1), axis=0, return_index=True)
    bits = bits[rows]
    apart = (bits[:, None] != bits[None]).sum(axis=2)
    expected = {(a, b) for a in range(len(bits)) for b in range(a + 1, len(bits)) if apart[a, b] <= distance}
    found = _close(np.packbits(bits, axis=1), cut(number, distance), distance)
    assert {(min(pair), max(pair)) for pair in found.tolist()} == expected


@given(st.integers(0, 63), st.integers(0, 10**7))
def test_bands_have_no_bit_in_common_and_radii_that_leave_no_way_out(distance: int, count: int) -> None:
    bands = bands_for(count, distance)
    assert sum(band.radius + 1 for band in bands) == distance + 1
    assert all(one.start + one.width <= other.start for one, other in pairwise(bands))
    assert bands[0].start >= 0 and bands[-1].start + bands[-1].width <= 256
    assert max(band.width for band in bands) <= 22


def test_more_hashes_meet_less_often() -> None:
    def meeting(count: int) -> float:
        bands = bands_for(count, 45)
        return sum(sum(comb(b.width, r) for r in range(b.radius + 1)) / 2**b.width for b in bands)

    assert [round(meeting(10**power), 3) for power in (4, 5, 6)] == sorted(
        (round(meeting(10**power), 3) for power in (4, 5, 6)), reverse=True
    )
    assert meeting(10**6) < meeting(10**4) / 2


def test_missing_hashes_are_like_nothing() -> None:
    manifest = pd.DataFrame(
        {"pixel_sha256": pd.Series(["a", "b", None, None], dtype="str"), "phash": pd.Series([None] * 4, dtype="str")}
    )
    assert cluster_duplicates(manifest, 63).tolist() == [0, 1, 2, 3]


def test_a_thousand_copies_are_one_cluster_without_a_million_pairs() -> None:
    same = pd.Series(["0f" * 32] * 1000, dtype="str")
    assert len(near_pairs(same, 45)) == 999


def test_groups_join_the_users_and_ours() -> None:
    manifest = pd.DataFrame(
        {
            "pixel_sha256": ["x", "x", "y", "z", "w"],
            "phash": pd.Series([None] * 5, dtype="str"),
            "group": pd.Series([None, "p", "p", None, None], dtype="str"),
            "label": list("aabba"),
        }
    )
    assert group_rows(manifest, 45).tolist() == [0, 0, 0, 3, 4]


def test_one_image_with_two_labels_is_refused_by_name() -> None:
    manifest = pd.DataFrame({"path": ["a/1", "b/2", "b/3"], "label": ["a", "b", "b"], "pixel_sha256": ["x", "x", "y"]})
    with pytest.raises(DataError) as caught:
        refuse_conflicts(manifest)
    assert caught.value.what == "the same image has two labels: a/1 (a) and b/2 (b)"


def test_a_photograph_that_was_compressed_scaled_or_cropped_is_found_and_others_are_not(
    shared_data: Path, tmp_path: Path
) -> None:
    from PIL import Image

    files = sorted((shared_data / "hymenoptera" / "val").rglob("*.jpg"))[:60]
    with Image.open(files[0]) as image:
        image.save(tmp_path / "q30.jpg", quality=30)
        image.resize((image.width // 2, image.height // 2)).save(tmp_path / "half.jpg")
        image.crop((4, 4, image.width - 4, image.height - 4)).save(tmp_path / "crop.jpg")
    copies = sorted(tmp_path.glob("*.jpg"))
    facts = [examine(file) for file in (*files, *copies)]
    manifest = pd.DataFrame(
        {"pixel_sha256": [item.pixel_sha256 for item in facts], "phash": [item.phash for item in facts]}
    )
    assert cluster_duplicates(manifest, 45).tolist() == [*range(60), 0, 0, 0]
