"""Finalists: activations at the boundary are as good as running what lies before it, and each image is predicted by
the network that did not see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from graft.features.extract import Extractor, frozen_part
from graft.features.store import Store
from graft.select.candidates import (
    TrainSet,
    around,
    extractor_for,
    finetune_in_folds,
    probe_candidate,
    task_network,
    with_tuned,
)
from graft.select.contest import run_contest
from graft.select.leaderboard import agreement, out_of_fold, table
from graft.settings import Params, Train
from graft.train.devices import fabric_for
from graft.train.finetune import Task, finetune
from graft.train.plan import staged
from graft.zoo.network import Network
from graft.zoo.weights import preprocessing_of

from .conftest import SMALL

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Rerun(Extractor):
    """Keeps nothing: runs what lies before the boundary over the images, one by one, whenever it is asked."""

    def activations(self, network: Network, stop: int, rows: NDArray[np.bool_]) -> torch.Tensor:
        images = self.preprocessing.normalise(torch.from_numpy(self.images[rows]))
        frozen = frozen_part(network, stop).eval()
        with torch.no_grad():
            return torch.cat([frozen(image[None]) for image in images])


def test_kept_activations_give_the_loss_of_running_the_frozen_part(
    task: TrainSet, store: Store, asked: Callable[..., Params], tmp_path: Path
) -> None:
    """The same curve from what was kept and from running it again, and the same logits of the whole network after."""
    params = asked(SMALL)
    candidate = params.zoo.candidates[0]
    network = task_network(candidate, 3, 3, params, tmp_path)
    settings = Train(finetune_epochs=2, batch_size=8)
    plan = staged(len(network.blocks), settings)
    start = plan.stages[-1].start
    assert 0 < start < len(network.blocks), "something is frozen, something is trained"
    fabric = fabric_for("cpu")
    preprocessing = preprocessing_of(candidate, around(params, tmp_path))
    keeps = extractor_for(task.images, preprocessing, store, fabric.device)
    reruns = Rerun(keeps.images, keeps.images_key, preprocessing, Store(tmp_path / "unused"), fabric.device)
    rows = task.folds != 0
    kept, rerun = (
        finetune(network, plan, Task(extractor, task.labels, rows), settings, 0, fabric)
        for extractor in (keeps, reruns)
    )
    assert len(kept.curve) >= 2 and any(store.folder.rglob("*")) and not (tmp_path / "unused").exists()
    assert [point.train_loss for point in kept.curve] == pytest.approx(
        [point.train_loss for point in rerun.curve], rel=1e-3
    )
    with torch.no_grad():
        whole = kept.network(preprocessing.normalise(torch.from_numpy(keeps.images[rows])))
        ending = kept.network.ending(start)(keeps.activations(network, start, rows))
    torch.testing.assert_close(ending, whole, rtol=1e-3, atol=1e-4)
    # Nothing before the boundary moved, parameters and buffers: else what was kept would be another network's.
    before, after = (frozen_part(item, start).state_dict() for item in (network, kept.network))
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_out_of_fold_probabilities_are_those_of_the_network_that_did_not_see_the_image(
    task: TrainSet, store: Store, asked: Callable[..., Params], tmp_path: Path
) -> None:
    params = asked(SMALL)
    probed = probe_candidate(params.zoo.candidates[0], task, params, tmp_path, store)
    folds = (0, 1)
    tuned = with_tuned(probed, [finetune_in_folds(probed, folds, task, params, tmp_path, store)], task)
    said = tuned.out_of_fold
    assert said is not None and said.shape == (24, 3)
    assert said.sum(axis=1) == pytest.approx(np.ones(24))
    right = said.argmax(axis=1) == task.labels
    assert [float(right[task.folds == fold].mean()) for fold in (0, 1)] == pytest.approx(list(tuned.finetuned))
    # Labels of a fold's own images take no part in what is said of them.
    other = TrainSet(task.images, task.labels.copy(), task.folds, task.classes)
    other.labels[task.folds == 0] = np.roll(other.labels[task.folds == 0], 1)
    again = with_tuned(probed, [finetune_in_folds(probed, folds, other, params, tmp_path, store)], other).out_of_fold
    assert again is not None
    assert np.array_equal(again[task.folds == 0], said[task.folds == 0])
    assert not np.array_equal(again[task.folds == 1], said[task.folds == 1])


def test_the_same_contest_gives_the_same_figures_but_for_times(
    task: TrainSet, asked: Callable[..., Params], tmp_path: Path
) -> None:
    params = asked({**SMALL, "depth": "auto"}, {**SMALL, "depth": 0}, finalists=2)
    first, second = (
        run_contest(task, params, tmp_path, Store(tmp_path / name), lambda line: None) for name in ("one", "two")
    )
    timed = [name for name in table(first.results).columns if name.startswith(("latency", "images_per", "seconds"))]
    assert len(timed) == 7
    rows = [table(item.results, item.failed, item.controls).drop(columns=timed) for item in (first, second)]
    assert rows[0].equals(rows[1])
    assert agreement(first.results) == agreement(second.results)
    frames = [out_of_fold(item, task) for item in (first, second)]
    assert frames[0].equals(frames[1])
    assert list(frames[0].columns) == ["path", "label", "fold", "p:red", "p:green", "p:blue"]
    assert frames[0]["path"].tolist() == list(task.images.paths)
    assert frames[0]["label"].tolist()[:3] == ["red", "green", "blue"]
