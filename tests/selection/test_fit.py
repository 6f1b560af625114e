"""How images become squares is chosen by cross-validation where that matters, and costs nothing where it does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from graft.core.files import sha256
from graft.core.settings import Params, Preprocess
from graft.features.cache import ArrayCache
from graft.features.image_cache import ImageSet
from graft.modalities.image.conversion import fits_to_try, usual_cut
from graft.pipeline.inputs.selection import selection_inputs
from graft.selection.candidates import probe_candidate
from graft.selection.inputs import TrainSet
from graft.selection.probes.probe import ProbeResult, best_probe
from graft.selection.selection import run_selection

from .conftest import SMALL


def facts(*sizes: tuple[int, int]) -> pd.DataFrame:
    """What the manifest says of images of these sizes."""
    return pd.DataFrame(sizes, columns=["width", "height"]).assign(depth_low=np.nan, depth_high=np.nan)


@pytest.fixture(scope="module")
def strips(tmp_path_factory: pytest.TempPathFactory) -> TrainSet:
    """48 grey noisy pictures of 96 x 32 in 3 folds, at one end of each a red, green or blue square: its class."""
    root = tmp_path_factory.mktemp("strips")
    random = np.random.default_rng(0)
    labels, folds = np.arange(48) % 3, np.arange(48) // 3 % 3
    for number, label in enumerate(labels):
        pixels = random.integers(80, 160, (32, 96, 3))
        end = slice(4, 26) if number % 2 else slice(70, 92)
        pixels[4:28, end] = 40
        pixels[4:28, end, label] = 230
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"{number:02d}.png")
    paths = tuple(f"{number:02d}.png" for number in range(48))
    images = ImageSet(root, paths, tuple(sha256(root / path) for path in paths))
    return TrainSet(images, labels, folds, ("red", "green", "blue"), facts=facts(*[(96, 32)] * 48))


def test_a_square_set_and_ordinary_photographs_are_only_cropped() -> None:
    for sizes in ([(64, 64)], [(4000, 3000), (3000, 2000)], [(1920, 1080)] * 3, [(64, 64)] * 9 + [(900, 100)]):
        cut = usual_cut(facts(*sizes))
        assert fits_to_try("auto", cut) == ("crop",)
        assert fits_to_try("pad", cut) == ("pad",)
    for sizes in ([(300, 100)], [(100, 200)], [(64, 64)] * 6 + [(100, 900)] * 4):
        assert fits_to_try("auto", usual_cut(facts(*sizes))) == ("crop", "pad", "squash")
    assert usual_cut(facts()) == 0.0


def test_an_object_at_one_end_of_3_to_1_is_found_by_auto_and_lost_by_crop(
    strips: TrainSet, store: ArrayCache, asked: Callable[..., Params], tmp_path: Path
) -> None:
    params = asked(SMALL)
    found = probe_candidate(params.zoo.candidates[0], selection_inputs(strips, params, tmp_path, store))
    assert set(found.fits) == {"crop", "pad", "squash"}
    assert found.fits["crop"] < 0.6
    assert found.preprocessing.geometry.fit != "crop"
    assert found.probe.mean > 0.9
    cropped = dataclasses.replace(params, preprocess=Preprocess("crop"))
    assert (
        probe_candidate(params.zoo.candidates[0], selection_inputs(strips, cropped, tmp_path, store)).probe.mean < 0.6
    )


def test_the_selection_says_what_it_tried_and_goes_on_with_the_best(
    strips: TrainSet, store: ArrayCache, asked: Callable[..., Params], tmp_path: Path
) -> None:
    said: list[str] = []
    contest = run_selection(selection_inputs(strips, asked(SMALL), tmp_path, store), said.append)
    assert contest.winner.preprocessing.geometry.fit in {"pad", "squash"}
    assert "(crop 0." in said[0] and ", pad " in said[0] and ", squash " in said[0]
    assert contest.winner.probe.mean > 0.9


def test_the_score_is_that_of_the_choice_made_inside_each_fold() -> None:
    crop = ProbeResult(0, (0.5, 0.9, 0.5), (0.6,), inner_scores=(0.8, 0.6, 0.6))
    pad = ProbeResult(0, (0.9, 0.9, 0.8), (0.9,), inner_scores=(0.7, 0.9, 0.9))
    place, best = best_probe([crop, pad])
    assert place == 1
    assert best.fold_scores == (0.5, 0.9, 0.8)
    assert best_probe([crop]) == (0, crop)
    assert best_probe([crop, crop])[0] == 0
