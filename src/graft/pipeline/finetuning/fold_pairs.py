"""Part of the stage `finetune`: winner and control trained again in every fold, with several seeds."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from graft.core.determinism import derive_seed
from graft.evaluation.compare.fold_pairs import FoldPair
from graft.metrics.scorer import ACCURACY
from graft.parallel.factory import mapper_for
from graft.parallel.mapper import Mapper, SerialMapper
from graft.parallel.outcomes import value_of
from graft.pipeline.finetuning.control import STRATEGY, train_control
from graft.pipeline.finetuning.inputs import Finetuning, fit

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def fold_pairs(job: Finetuning, fabric: Fabric | None = None) -> tuple[FoldPair, ...]:
    """Both sides trained as the winner and its control are, but without one fold, and scored on it.

    ``train.control_seeds`` times the number of folds pairs; none where no control is wanted, or the winner itself
    began without weights. Test images take no part.
    """
    wanted = job.trainer.settings
    if not (wanted.control and job.trainer.data.task.categorical) or job.winner.candidate.weights == "none":
        return ()
    folds = np.unique(job.trainer.data.folds)
    places = [(seed, int(fold)) for seed in range(wanted.control_seeds) for fold in folds]
    if not places:
        return ()
    together = None if fabric is None or fabric.world_size == 1 else fabric
    # Devices that train together do each pair together.
    opened: AbstractContextManager[Mapper] = (
        mapper_for(job.compute) if together is None else nullcontext(SerialMapper())
    )
    with opened as mapper:
        return tuple(map(value_of, mapper.map(partial(_pair, job, together), places, "comparing in every fold")))


def _pair(job: Finetuning, fabric: Fabric | None, place: tuple[int, int]) -> FoldPair:
    seed, fold = place
    own = job.with_seed(derive_seed(job.trainer.seed, "fold pairs", seed) % 2**31)
    test = own.trainer.data.folds == fold
    control, _ = train_control(own, ~test, fabric)
    return FoldPair(
        seed=seed,
        fold=fold,
        train_images=int((~test).sum()),
        test_images=int(test.sum()),
        transfer=own.trainer.score(fit(own, ~test, fabric), own.choice.strategy, test, ACCURACY),
        scratch=own.trainer.score(control, STRATEGY, test, ACCURACY),
    )
