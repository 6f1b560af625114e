"""What is unlike the training: distances against scikit-learn's, the promised share, planted shifts, the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from graft.calibration import novelty
from graft.calibration.fitted_trust import Novelty
from graft.calibration.novelty import (
    ReferenceFeatures,
    check_reference,
    chosen_rows,
    distances,
    fit_novelty,
    neighbour,
    normalised,
    read_reference,
    write_reference,
)
from graft.core.errors import WeightsError


@pytest.mark.parametrize("k", [1, 3])
def test_distance_is_that_to_the_kth_neighbour(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "_ROWS", 7)
    rng = np.random.default_rng(k)
    features, reference = rng.normal(size=(20, 6)) * 5, rng.normal(size=(30, 6))

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    wanted = NearestNeighbors(n_neighbors=k).fit(unit(reference)).kneighbors(unit(features))[0][:, -1]
    np.testing.assert_allclose(distances(features, reference, k), wanted, atol=1e-5)


def test_zero_features_are_no_nan() -> None:
    found = distances(np.zeros((1, 4)), np.eye(4), 1)
    assert np.isfinite(found).all() and found[0] > 1


def clouds(count: int, seed: int) -> np.ndarray:
    """Features of two kinds of images: two directions of sixteen, with some spread."""
    rng = np.random.default_rng(seed)
    return 4 * np.eye(16)[rng.integers(0, 2, count)] + rng.normal(size=(count, 16))


def test_the_asked_share_of_usual_images_passes_and_a_planted_shift_does_not() -> None:
    shares = []
    for seed in range(40):
        reference = clouds(300, 3 * seed + 1)
        card = fit_novelty(reference, np.arange(300), 0.9)
        assert card.distance is not None and (card.n_fitted, card.images) == (300, 300)
        kept = ReferenceFeatures(normalised(reference), card)
        shares.append((kept.score(clouds(200, 3 * seed + 2)) <= 1).mean())
        other = np.random.default_rng(seed).normal(size=(200, 16)) + 4 * np.eye(16)[9]
        assert (kept.score(other) > 1).mean() > 0.95
    # 301 * 0.9 = 270.9, so the 271st of 300: of features that were not trained on them 271 / 301 pass.
    assert np.mean(shares) == pytest.approx(271 / 301, abs=0.015)


def test_images_of_one_group_are_no_neighbours() -> None:
    """Each image five times: leaving out only itself, all distances would be 0 and every new image unlike."""
    once = clouds(60, 0)
    five, groups = np.repeat(once, 5, axis=0), np.repeat(np.arange(60), 5)
    np.testing.assert_allclose(
        distances(five, five, 1, groups)[::5], distances(once, once, 1, np.arange(60)), atol=1e-5
    )
    assert distances(once, once, 1, np.zeros(60, dtype=int)) == pytest.approx(2.0)
    card = fit_novelty(five, groups, 0.9)
    assert card.distance is not None
    assert (ReferenceFeatures(normalised(five), card).score(clouds(200, 1)) <= 1).mean() > 0.8


@pytest.mark.parametrize("k", [1, 4])
def test_distances_without_oneself_are_scikit_learns(k: int) -> None:
    rows = normalised(clouds(50, 2))
    wanted = NearestNeighbors(n_neighbors=k + 1).fit(rows).kneighbors(rows)[0][:, -1]
    np.testing.assert_allclose(distances(rows, rows, k, np.arange(50)), wanted, atol=1e-5)


def test_too_few_images_have_no_threshold() -> None:
    assert fit_novelty(clouds(19, 0), np.arange(19), 0.95).distance is not None
    found = fit_novelty(clouds(38, 0), np.arange(38) // 2 % 18, 0.95)
    assert found.distance is None
    assert found.reason == "18 training images or groups are too few to choose it on; 95% need at least 19"


def test_reference_rows_are_every_classes_share_and_the_same_again() -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    rows = chosen_rows(labels, 100, 0)
    assert len(rows) == 100 == len(set(rows.tolist())) and (np.diff(rows) > 0).all()
    assert np.bincount(labels[rows]) == pytest.approx([60, 30, 10], abs=1)
    assert (chosen_rows(labels, 100, 0) == rows).all() and (chosen_rows(labels, 100, 1) != rows).any()
    assert (chosen_rows(labels[:50], 100, 0) == np.arange(50)).all()


def test_neighbour_is_a_share_of_the_images() -> None:
    assert [neighbour(count) for count in (1, 200, 201, 2000)] == [1, 1, 2, 10]


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    features = clouds(50, 0)
    card = Novelty(0.5, 1, 0.95, 30, 50, write_reference(tmp_path, features), None)
    first = (tmp_path / "reference.safetensors").read_bytes()
    assert write_reference(tmp_path, features) == card.sha256 and len(first) < 50 * 16 * 2 + 200
    found = read_reference(tmp_path, card)
    assert found is not None
    np.testing.assert_allclose(found.features, normalised(features), atol=1e-3)
    np.testing.assert_allclose(found.score(features), 0, atol=0.05)
    assert read_reference(tmp_path, Novelty()) is None


def test_a_missing_or_exchanged_file_is_refused_by_name(tmp_path: Path) -> None:
    card = Novelty(0.5, 1, 0.95, 30, 50, write_reference(tmp_path, clouds(50, 0)), None)
    write_reference(tmp_path, clouds(50, 1))
    with pytest.raises(WeightsError) as refused:
        check_reference(tmp_path, card, Path("models/x"))
    assert refused.value.message() == (
        "the training images' features are not the ones model.json was written for (their sha256 differs)\n"
        "  where: models/x/reference.safetensors\n"
        "  remedy: make the model again, or take all files from the same copy"
    )
    (tmp_path / "reference.safetensors").unlink()
    with pytest.raises(WeightsError, match="lie beside the model, are missing"):
        read_reference(tmp_path, card)
