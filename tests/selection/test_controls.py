"""Controls: each against a direct computation, and none of them ever wins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from graft.core.settings import Candidate, Params
from graft.features.cache import ArrayCache
from graft.features.image_cache import decoded
from graft.metrics.scorer import ACCURACY
from graft.modalities.image.preprocessing import Geometry
from graft.pipeline.inputs.selection import selection_inputs
from graft.selection.candidates import probe_candidate
from graft.selection.controls import (
    CONTROLS,
    Control,
    ControlInputs,
    first_by_imagenet,
    majority_class,
    random_weights,
    raw_samples,
    run_controls,
    static_order,
    unbeaten,
)
from graft.selection.inputs import TrainSet
from graft.selection.probes.probe import LinearProbe
from graft.selection.report.leaderboard import CONTROL, table
from graft.selection.selection import run_selection
from graft.tasks.classification.probes import PROBES

from .conftest import SMALL, planted

_PIXELS = Geometry(32, 1.0, "bilinear")


@pytest.fixture
def given(
    task: TrainSet, store: ArrayCache, asked: Callable[..., Params], tmp_path: Path
) -> Callable[..., ControlInputs]:
    def make(*results: object, **more: object) -> ControlInputs:
        inputs = selection_inputs(task, asked(SMALL), tmp_path, store)
        inputs = dataclasses.replace(inputs, **more)  # type: ignore[arg-type]
        return ControlInputs(results, results[0], inputs)  # type: ignore[arg-type]

    return make


def test_majority_class_by_hand(given: Callable[..., ControlInputs], task: TrainSet) -> None:
    labels = np.array([0, 0, 0, 0, 1, 2, 1, 1, 1, 2])
    folds = np.array([0] * 5 + [1] * 5)
    data = TrainSet(task.images, labels, folds, task.classes)
    # Fold 0 is told by fold 1's most frequent class, 1, and fold 1 by fold 0's, 0.
    assert majority_class(given(planted("a", 0.9, 1.0), data=data)).scores == pytest.approx((1 / 5, 0.0))


def test_raw_pixels_are_scaled_inside_the_fold(given: Callable[..., ControlInputs], task: TrainSet) -> None:
    """Against scikit-learn on pixels read here; separable colours, so the ridge's strength does not matter."""
    pixels = np.stack(
        [
            np.asarray(Image.open(task.images.root / path).resize((_PIXELS.size,) * 2, Image.Resampling.BILINEAR))
            for path in task.images.paths
        ]
    ).reshape(len(task.labels), -1)
    wanted = []
    for fold in (0, 1):
        test = task.folds == fold
        scaler = StandardScaler().fit(pixels[~test])
        head = RidgeClassifier(1e3).fit(scaler.transform(pixels[~test]), task.labels[~test])
        wanted.append(head.score(scaler.transform(pixels[test]), task.labels[test]))
    assert raw_samples(given(planted("a", 0.9, 1.0))).scores == pytest.approx(wanted)


def test_raw_pixels_are_judged_by_the_head_that_the_candidates_are(
    given: Callable[..., ControlInputs],
) -> None:
    asked = given(planted("a", 0.9, 1.0))
    settings = asked.inputs.settings
    settings = dataclasses.replace(settings, select=dataclasses.replace(settings.select, probe="logistic"))
    # Labels by lot: where colours decide, every head is right.
    labels = np.random.default_rng(0).permutation(asked.inputs.data.labels)
    data = dataclasses.replace(asked.inputs.data, labels=labels, groups=np.arange(len(labels)) // 2)
    inputs = dataclasses.replace(asked.inputs, settings=settings, data=data)
    pixels = decoded(data.images, _PIXELS, inputs.store).reshape(len(labels), -1).astype(np.float32)
    ridge, logistic = (
        LinearProbe(labels, data.folds, PROBES[head], len(data.classes), data.groups, settings.seed).fold_scores(pixels)
        for head in ("ridge", "logistic")
    )
    assert raw_samples(dataclasses.replace(asked, inputs=inputs)).scores == logistic != ridge


def test_the_winner_with_random_weights_is_cut_where_the_winner_is(
    given: Callable[..., ControlInputs], task: TrainSet, store: ArrayCache, asked: Callable[..., Params], tmp_path: Path
) -> None:
    winner = planted("shufflenet_v2_x0_5", 0.9, 1.0)
    winner = dataclasses.replace(winner, candidate=Candidate("shufflenet_v2_x0_5", "DEFAULT", "auto", 32))
    found = random_weights(given(winner))
    blank = asked({**SMALL, "depth": 2}).zoo.candidates[0]
    direct = probe_candidate(blank, selection_inputs(task, asked(SMALL), tmp_path, store))
    assert found is not None and found.result is not None
    assert found.scores == direct.probe.fold_scores and found.result.probe.depth == 2
    assert "cut after block 2; on the winner's own features it had accuracy 0.900" in found.why


def test_random_weights_are_left_out_where_they_take_part_already(given: Callable[..., ControlInputs]) -> None:
    random = planted("a", 0.9, 1.0)
    assert random_weights(given(random)) is None
    winner = dataclasses.replace(random, candidate=Candidate("a", "DEFAULT", "auto"))
    assert random_weights(given(winner, random)) is None


def test_random_weights_that_fail_are_a_row_without_a_score(given: Callable[..., ControlInputs]) -> None:
    winner = dataclasses.replace(planted("a", 0.9, 1.0), candidate=Candidate("no_such_network", "DEFAULT"))
    found = random_weights(given(winner))
    assert found is not None and found.mean is None
    assert found.why.startswith("control: failed with random weights: unknown architecture 'no_such_network'")


def test_the_static_order_takes_the_highest_published_accuracy(given: Callable[..., ControlInputs]) -> None:
    none = planted("none", 0.99, 0.1)
    low = planted("low", 0.9, 1.0, (0.9, 0.9), published=0.7)
    high = planted("high", 0.5, 3.0, published=0.8)
    cheaper = planted("cheaper", 0.6, 2.0, published=0.8)
    assert first_by_imagenet([none, low, high, cheaper]) is cheaper
    found = static_order(given(none, low, high, cheaper))
    assert found is not None and found.scores == cheaper.probe.fold_scores
    assert found.why == (
        "control: ImageNet accuracy alone (80.0%) would have chosen cheaper (none, 32 px); score of a linear probe, as "
        "it was no finalist"
    )
    assert static_order(given(none)) is None


def test_controls_are_marked_and_never_win(
    task: TrainSet, store: ArrayCache, asked: Callable[..., Params], tmp_path: Path
) -> None:
    inputs = selection_inputs(task, asked({**SMALL, "depth": 1}), tmp_path, store)
    contest = run_selection(inputs, lambda line: None)
    rows = table(contest.results, contest.failed, contest.controls)
    controls = rows[rows["kind"] == CONTROL]
    assert controls["name"].tolist() == ["majority class", "raw pixels"]
    assert controls["rank"].isna().all() and controls["why"].str.startswith("control: ").all()
    assert rows["why"].str.startswith("chosen").tolist() == [True, False, False]
    assert len(list(run_controls(ControlInputs(contest.results, contest.winner, inputs))))


def test_the_winner_s_row_says_where_a_control_is_better() -> None:
    winner = planted("a", 0.9, 1.0, (0.8, 0.8, 0.8))
    controls = [Control("raw pixels", (0.9, 0.9), "control"), Control("majority class", (0.1,), "control")]
    assert unbeaten(controls, winner, ACCURACY) == "; yet the control 'raw pixels' had accuracy 0.900"
    rows = table([winner], (), controls)
    assert (
        rows["why"][0] == "chosen: there was no other to choose from; yet the control 'raw pixels' had accuracy 0.900"
    )


def test_there_are_four() -> None:
    assert len(CONTROLS) == 4
