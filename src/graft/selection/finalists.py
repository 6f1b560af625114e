"""Finalists: the best candidates by probe, trained without a fold at a time as the winner will be trained."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graft.core.deadline import OutOfTimeError
from graft.core.settings import Candidate
from graft.selection.candidate_training import CandidateTrainer, Start
from graft.selection.candidates import (
    CandidateResult,
    FoldOutputs,
    finetune_folds,
    preprocessings_for,
)
from graft.selection.inputs import SelectionInputs
from graft.training.auto_strategy import HEAD_ONLY, strategies_to_try

if TYPE_CHECKING:
    from numpy.typing import NDArray


def trainer_for(candidate: Candidate, depth: int, given: SelectionInputs) -> CandidateTrainer:
    """What trains a candidate's network, cut after block ``depth``; everything about it is resolved here."""

    def start(own: Candidate) -> Start:
        return Start(own, preprocessings_for(own, given)[0], settings.weights)

    settings = given.settings
    return CandidateTrainer(
        transfer=start(candidate),
        blank=start(dataclasses.replace(candidate, weights="none")),
        depth=depth,
        data=given.data,
        settings=settings.train,
        augment=settings.augment,
        store=given.store,
        device=settings.device,
        seed=settings.seed,
        deadline=settings.deadline,
    )


def train_in_folds(result: CandidateResult, folds: Sequence[int], given: SelectionInputs) -> FoldOutputs:
    """Train a finalist without each of ``folds`` by every strategy that is to be compared, as the winner will be.

    In each fold the network is cut at the depth that was chosen inside the fold's training part, so that the fold had
    no say in it. Blocks are trained without the first ``select.finetune_folds`` folds only, and where the time is up
    without fewer of them.

    Raises:
        TrainingError: the loss is not finite.
    """
    begun = time.perf_counter()
    settings, data = given.settings, given.data
    candidate = dataclasses.replace(result.candidate, fit=result.preprocessing.variant)
    trainer = trainer_for(candidate, result.probe.depth, given)
    depths = dict(zip(np.unique(data.folds).tolist(), result.probe.fold_depths, strict=True))
    probe = result.probe.mean if settings.metric == "accuracy" else None
    strategies = strategies_to_try(settings.train, candidate.weights, probe, len(data.classes))
    head_only = tuple(strategy for strategy in strategies if strategy in HEAD_ONLY)
    all_of_them = finetune_folds(data.folds, settings.select.finetune_folds)
    logits: dict[str, dict[int, NDArray[np.float32]]] = {strategy: {} for strategy in strategies}
    out_of_time = False
    for fold in map(int, folds):
        cut = dataclasses.replace(trainer, depth=depths[fold])
        held_out = data.folds == fold
        tried, purpose = strategies if fold in all_of_them else head_only, ("select", candidate.arch, fold)
        try:
            trained = cut.fit_each(tried, ~held_out, purpose)
        except OutOfTimeError:
            if not head_only:
                raise
            out_of_time = True
            trained = cut.fit_each(head_only, ~held_out, purpose)
        for strategy, network in trained.items():
            logits[strategy][fold] = cut.logits(network, strategy, held_out)
    found = {strategy: by_fold for strategy, by_fold in logits.items() if by_fold}
    return FoldOutputs(found, time.perf_counter() - begun, out_of_time)
