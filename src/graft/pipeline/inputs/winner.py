"""What selection chose, and what trains it: resolved once by the stages `tune` and `finetune`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graft.core.errors import DataError
from graft.core.settings import Candidate, Params
from graft.core.workspace import Workspace, user_cache

if TYPE_CHECKING:
    from pathlib import Path

    from graft.selection.candidate_training import CandidateTrainer


@dataclass(frozen=True)
class Winner:
    """The winner of the selection.

    Attributes:
        candidate: with the fit that was chosen for it.
        depth: the last block that is kept.
        blocks: how many blocks its whole network has.
        scores: for each strategy that was tried its score on every fold.
    """

    candidate: Candidate
    depth: int
    blocks: int
    scores: Mapping[str, tuple[float, ...]]

    @property
    def cut_after(self) -> int | None:
        """The last block that is kept; None where the network is whole."""
        return None if self.depth == self.blocks - 1 else self.depth


def read_winner(workspace: Workspace) -> Winner:
    """Read reports/selection/winner.json.

    Raises:
        DataError: nothing was chosen yet.
    """
    return _read(workspace.selection / "winner.json")


def _read(path: Path) -> Winner:
    try:
        chosen = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("no candidate was chosen yet", where=path, remedy="run `.venv/bin/dvc repro`") from None
    names = [field.name for field in dataclasses.fields(Candidate)]
    candidate = Candidate(**{name: chosen[name] for name in names if name in chosen})
    scores = {name: tuple(values) for name, values in chosen.get("trained", {}).items()}
    return Winner(candidate, chosen["depth"], chosen["blocks"], scores)


def read_network(workspace: Workspace) -> Winner:
    """Read reports/selection/network.json: the winner without its scores, which change more often than it does.

    Raises:
        DataError: nothing was chosen yet.
    """
    return _read(workspace.selection / "network.json")


def winner_trainer(winner: Winner, params: Params, workspace: Workspace) -> CandidateTrainer:
    """What trains the winner's network on the training images, in the fastest mode of this machine."""
    from graft.augmentation.auto_policy import with_augmentation
    from graft.features.cache import ArrayCache
    from graft.pipeline.inputs.selection import selection_inputs, train_set
    from graft.selection.finalists import trainer_for
    from graft.tasks.registry import find_task
    from graft.training.compute.precision_autotune import ModeAutotuner

    params = with_augmentation(params, workspace.augmentation)
    store = ArrayCache(workspace.cache, params.compute.cache_gb)
    given = selection_inputs(train_set(workspace, find_task(params.data.task)), params, workspace.source_models, store)
    trainer = trainer_for(winner.candidate, winner.depth, given)
    return dataclasses.replace(trainer, choose_mode=ModeAutotuner(params.compute, user_cache()))


def control_trainer(network: Winner, params: Params, workspace: Workspace) -> CandidateTrainer:
    """What trains the winner's network from scratch, at the side of ``train.control_size`` where that is smaller.

    Where the network cannot take so small images, at the least side that it can.
    """
    from graft.models.zoo.registry import size_at_least

    usual = winner_trainer(network, params, workspace)
    asked, own = params.train.control_size, usual.transfer.preprocessing.size
    if asked is None or asked >= own or (size := size_at_least(network.candidate.arch, asked)) >= own:
        return usual
    smaller = dataclasses.replace(network.candidate, weights="none", size=size)
    return winner_trainer(dataclasses.replace(network, candidate=smaller), params, workspace)


def searched_strategy(winner: Winner, params: Params) -> str:
    """The strategy that a search varies: fine-tuning, also where the head was better at the current settings."""
    from graft.training.auto_strategy import choose_strategy

    return choose_strategy(params.train, winner.candidate.weights, {}).strategy
