"""Seconds that a candidate's network takes for an image on this machine: measured once, and kept for all projects."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.determinism import available_cores
from graft.core.files import write_json
from graft.core.settings import Candidate, Train
from graft.features.keys import key_of

if TYPE_CHECKING:
    from graft.modalities.preprocessor import Inputs
    from graft.models.backbone import Network

# Images of the timed batches: as many as are extracted, and trained on, together.
_EXTRACTED, _TRAINED = 16, 32
# Each is timed so often after a first time that does not count, and the least is taken.
_TURNS = 2
# Raise it whenever the meaning of what is kept changes.
_VERSION = 1


@dataclass(frozen=True)
class Rates:
    """Seconds an image of a network, all cores together.

    Attributes:
        forward: to run the whole network over it.
        frozen: to run the blocks that `train.unfreeze` leaves frozen over it.
        finetune: of a training step of the other blocks, forward and backward.
        scratch: of a training step of all blocks.
        augment: to augment it.
    """

    forward: float
    frozen: float
    finetune: float
    scratch: float
    augment: float


def rates_of(candidate: Candidate, size: int, train: Train, folder: Path, *, measure: bool) -> Rates | None:
    """The rates of a candidate's network at ``size`` px; None where they are not known and are not to be measured.

    Args:
        candidate: the network.
        size: side of the input in pixels.
        train: of it ``unfreeze`` counts.
        folder: where rates are kept.
        measure: whether to measure what is not kept, which imports torch and takes some seconds.
    """
    machine = (platform.machine(), platform.processor(), available_cores())
    known = (_VERSION, candidate.arch, size, train.unfreeze, version("torch"), machine)
    path = folder / "rates" / f"{key_of(*map(str, known))[:32]}.json"
    try:
        return Rates(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        if not measure:
            return None
    found = _measured(candidate, size, train)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(found))
    return found


def _measured(candidate: Candidate, size: int, train: Train) -> Rates:
    import torch

    from graft.models.zoo.registry import build_network, builder_for, size_at_least
    from graft.training.freezing import freeze
    from graft.training.strategies import Stage, finetune_plan

    # The control is trained at the least size that it can take from the one that was asked for.
    size = size_at_least(candidate.arch, size)
    preprocessing = builder_for(candidate.arch).preprocessing(candidate.arch, size)
    rows = preprocessing.loader.random_rows(_TRAINED)
    batch = preprocessing.collate(rows)
    network = build_network(candidate.arch, 2, None, preprocessing.size)
    stage = finetune_plan(len(network.blocks), train).stage
    start = len(network.blocks) if stage is None else stage.start
    with torch.inference_mode():
        some = preprocessing.collate(rows[:_EXTRACTED])
        network.eval()
        forward = _least(lambda: network(some)) / _EXTRACTED
        frozen_part = network.blocks_before(start)
        frozen = _least(lambda: frozen_part(some)) / _EXTRACTED if start else 0.0
    with torch.no_grad():
        inner = network.blocks_before(start)(batch) if start else batch
    whole = Stage("scratch", 0, 1, 0.001, 0.001, True)
    freeze(network, whole)
    scratch = _step_seconds(network, 0, batch) / _TRAINED
    finetune = 0.0
    if stage is not None:
        freeze(network, stage)
        finetune = _step_seconds(network, start, inner) / _TRAINED
    return Rates(forward, frozen, finetune, scratch, _augment_seconds(size))


def _step_seconds(network: Network, start: int, inputs: Inputs) -> float:
    """Seconds of a training step of everything from block ``start`` on."""
    import torch
    from torch.nn import functional as F

    tail = network.classifier_from(start)
    trained = [parameter for parameter in tail.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, fused=True)
    labels = torch.arange(_TRAINED) % network.head.out_features

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(tail(inputs), labels))
        optimizer.step()

    return _least(step)


def _augment_seconds(size: int) -> float:
    """Seconds to augment an image by the policy for photographs."""
    import numpy as np
    import torch

    from graft.augmentation.policies import augment_batch
    from graft.augmentation.policy_config import build_policy, parse_policies
    from graft.core.settings import Augment, NamedPolicy

    policy = build_policy(parse_policies(Augment(policy=(NamedPolicy("standard"),))), size)
    side, count = round(size * policy.enlargement), 8
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8))
    return _least(lambda: augment_batch(policy, images, list(range(count)))) / count


def _least(work: Callable[[], object]) -> float:
    """The least seconds of some turns; the first, which pays for memory and kernels, is left out."""
    work()
    seconds = []
    for _ in range(_TURNS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
