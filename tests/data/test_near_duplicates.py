"""Duplicates: every pair within the distance is found, none beyond it, and clusters and groups join transitively."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from graft.core.errors import DataError
from graft.data import near_duplicates
from graft.data.manifest import describe_file
from graft.data.near_duplicates import cluster_duplicates, near_pairs
from graft.data.splits.groups import group_rows, refuse_conflicts
from graft.modalities.image.modality import ImageModality


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
    packed = np.packbits(bits, axis=1)
    assert {(int(a), int(b)) for pairs in near_pairs(packed, distance) for a, b in pairs} == expected
    manifest = pd.DataFrame({"fingerprint": [f"{row}" for row in range(count)], "near_key": text(packed)})
    clusters = cluster_duplicates(manifest, distance)
    _, joined = connected_components(apart <= distance, directed=False)
    assert clusters.tolist() == [int(np.flatnonzero(joined == number)[0]) for number in joined]


def test_missing_hashes_are_like_nothing() -> None:
    manifest = pd.DataFrame(
        {"fingerprint": pd.Series(["a", "b", None, None], dtype="str"), "near_key": pd.Series([None] * 4, dtype="str")}
    )
    assert cluster_duplicates(manifest, 63).tolist() == [0, 1, 2, 3]


def test_pairs_are_found_across_blocks_and_copies_are_one_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "_ROWS_AT_ONCE", 2)
    keys = ["00" * 32, "ff" * 32, "0f" * 32, "00" * 31 + "01", "0f" * 32, "ff" * 31 + "fe"]
    manifest = pd.DataFrame({"fingerprint": list("abcdef"), "near_key": keys})
    assert cluster_duplicates(manifest, 1).tolist() == [0, 1, 2, 0, 2, 1]
    assert cluster_duplicates(manifest, 0).tolist() == [0, 1, 2, 3, 2, 5]


def test_groups_join_the_users_and_ours() -> None:
    manifest = pd.DataFrame(
        {
            "fingerprint": ["x", "x", "y", "z", "w"],
            "near_key": pd.Series([None] * 5, dtype="str"),
            "group": pd.Series([None, "p", "p", None, None], dtype="str"),
            "label": list("aabba"),
        }
    )
    assert group_rows(manifest, 45).tolist() == [0, 0, 0, 3, 4]


def test_one_image_with_two_labels_is_refused_by_name() -> None:
    manifest = pd.DataFrame({"path": ["a/1", "b/2", "b/3"], "label": ["a", "b", "b"], "fingerprint": ["x", "x", "y"]})
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
    rows = [describe_file(file, ImageModality()) for file in (*files, *copies)]
    manifest = pd.DataFrame(
        {"fingerprint": [row["pixel_sha256"] for row in rows], "near_key": [row["phash"] for row in rows]}
    )
    assert cluster_duplicates(manifest, 45).tolist() == [*range(60), 0, 0, 0]
