"""Part of the stage `finetune`: winner and control trained again in every fold, with several seeds."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from graft.evaluate.repeated import FoldPair
from graft.mapper.factory import mapper_for
from graft.mapper.mapper import Mapper, SerialMapper
from graft.mapper.outcomes import value_of
from graft.settings import Train
from graft.stages.control import STRATEGY, train_control

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.stages.job import Job

    Rows = NDArray[np.bool_]


def fold_pairs(job: Job, asked: Train) -> tuple[FoldPair, ...]:
    """Both sides trained as the winner and its control are, but without one fold, and scored on it.

    ``train.control_seeds`` times the number of folds pairs; none where no control is wanted, or the winner itself
    began without weights. Test images take no part.
    """
    wanted = job.params.train
    if not wanted.control or job.winner.weights == "none":
        return ()
    places = [(seed, int(fold)) for seed in range(wanted.control_seeds) for fold in np.unique(job.data.folds)]
    if not places:
        return ()
    with _mapper(job) as mapper:
        return tuple(map(value_of, mapper.map(partial(_pair, job, asked), places, "comparing in every fold")))


def _mapper(job: Job) -> AbstractContextManager[Mapper]:
    """What does the pairs: devices that train together do each of them together."""
    return nullcontext(SerialMapper()) if job.fabric.world_size > 1 else mapper_for(job.params.compute)


def _pair(job: Job, asked: Train, place: tuple[int, int]) -> FoldPair:
    seed, fold = place
    apart = _seeded(job, seed)
    test = job.data.folds == fold
    strategy = job.choice.strategy
    return FoldPair(
        seed=seed,
        fold=fold,
        train_images=int((~test).sum()),
        test_images=int(test.sum()),
        transfer=apart.score(apart.train(strategy, ~test), strategy, test),
        scratch=apart.score(train_control(apart, asked, ~test)[0], STRATEGY, test),
    )


def _seeded(job: Job, seed: int) -> Job:
    """The same job with a seed of its own."""
    from graft.determinism import derive_seed

    own = derive_seed(job.params.seed, "fold pairs", seed) % 2**31
    return dataclasses.replace(job, params=dataclasses.replace(job.params, seed=own))
