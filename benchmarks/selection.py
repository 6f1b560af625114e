"""What choosing costs: fine-tuning every candidate in every fold, against probes at all depths and the whole selection.

Run from the project's folder: `.venv/bin/python benchmarks/selection.py`. The data are the 245 training photographs
of ../shared/data/hymenoptera at 96 px, the candidates EfficientNet-Lite0, Lite1 and Lite2 with ImageNet weights (the
latter two of the extra `weights`), in 5 folds.

* naive: each candidate's whole network is fine-tuned for 10 epochs in each fold, and every image is decoded anew in
  every epoch, on all cores; written out below;
* ranking: graft's probes of all candidates at all depths (`depth: auto`), decoding included, with empty caches;
* selection: all that the select stage does with two finalists, with empty caches;
* heads: the ranking again when all features are kept: reading them, building the networks, and the heads themselves.

The parts run in turns; the ranking and the selection are the best of three, the naive way, which takes tens of
minutes, runs once. `--quick` times 2 batches of 3 epochs of one fold of the naive way and reckons what the whole
would have taken; it then has no naive winner, and its JSON says both. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from graft.cli.ranking import Places, train_part
from graft.core.config import parse_params
from graft.core.determinism import available_cores, make_deterministic
from graft.core.progress import track
from graft.core.settings import Candidate, Params
from graft.features.cache import ArrayCache
from graft.inference.pretrained import load_pretrained
from graft.models.backbone import cut
from graft.models.weights.locate import WeightsContext
from graft.pipeline.inputs.selection import selection_inputs
from graft.selection.best import standard_error
from graft.selection.candidates import probe_candidate
from graft.selection.inputs import TrainSet
from graft.selection.selection import run_selection

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared/data/hymenoptera"
NAMES = [f"timm:tf_efficientnet_lite{number}" for number in range(3)]
SIZE, FOLDS, EPOCHS, BATCH, RATE = 96, 5, 10, 32, 3e-4
QUICK_BATCHES, QUICK_EPOCHS = 2, 3


@dataclass
class Naive:
    """Fine-tuning a candidate in every fold: seconds of what was run, steps of it, and accuracy per fold."""

    seconds: float = 0.0
    steps: int = 0
    scores: tuple[float, ...] = ()


def settings() -> Params:
    """Three candidates, five folds, two finalists."""
    candidates = [{"arch": name, "weights": "bundled", "size": SIZE, "depth": "auto"} for name in NAMES]
    values = {"zoo": {"candidates": candidates}, "select": {"folds": FOLDS, "finalists": 2}}
    return parse_params({**values, "augment": {"policy": "standard"}}, "benchmark")


def naive_fold(candidate: Candidate, data: TrainSet, params: Params, fold: int, epochs: int, steps: int) -> Naive:
    """The plain way, for one fold: the whole network, AdamW with a cosine, every image decoded in every epoch.

    At most ``steps`` steps of each epoch are run; fewer than there are means that the accuracy means nothing.
    """
    found = load_pretrained(candidate, WeightsContext(ROOT, offline=False, seed=params.seed))
    network = cut(found.network, len(found.network.blocks) - 1, len(data.classes))
    labels = torch.from_numpy(data.labels)
    train, test = (torch.from_numpy(np.flatnonzero(rows)) for rows in (data.folds != fold, data.folds == fold))
    random = torch.Generator().manual_seed(fold)

    def load(rows: Tensor) -> Tensor:
        paths = [data.images.root / data.images.paths[int(row)] for row in rows]
        images = list(pool.map(found.preprocessing.geometry.load, paths))
        return found.preprocessing.normalise(torch.from_numpy(np.stack(images)))

    done = 0
    begun = time.perf_counter()
    with ThreadPoolExecutor(available_cores()) as pool:
        optimizer = torch.optim.AdamW(network.parameters(), RATE)
        for epoch in range(epochs):
            for group in optimizer.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * epoch / EPOCHS))
            network.train()
            order = train[torch.randperm(len(train), generator=random)]
            for rows in torch.tensor_split(order, math.ceil(len(order) / BATCH))[:steps]:
                loss = F.cross_entropy(network(load(rows)), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                done += 1
        seconds = time.perf_counter() - begun
        network.eval()
        with torch.no_grad():
            said = torch.cat([network(load(rows)).argmax(1) for rows in torch.split(test, BATCH)])
    return Naive(seconds, done, (float((said == labels[test]).float().mean()),))


def naive(candidate: Candidate, data: TrainSet, params: Params) -> Naive:
    """All folds, all epochs."""
    parts = [
        naive_fold(candidate, data, params, fold, EPOCHS, 10**9)
        for fold in track(range(FOLDS), f"naively, {candidate.arch}")
    ]
    return Naive(
        sum(part.seconds for part in parts),
        sum(part.steps for part in parts),
        tuple(score for part in parts for score in part.scores),
    )


def naive_reckoned(candidate: Candidate, data: TrainSet, params: Params) -> Naive:
    """A few batches of the first fold, and by them the seconds of all of the steps; no scores."""
    part = naive_fold(candidate, data, params, 0, QUICK_EPOCHS, QUICK_BATCHES)
    steps = sum(math.ceil(int((data.folds != fold).sum()) / BATCH) for fold in range(FOLDS)) * EPOCHS
    return Naive(part.seconds / part.steps * steps, part.steps)


def rank_by_probes(data: TrainSet, params: Params) -> tuple[float, float]:
    """Seconds of probing all candidates at all depths from nothing, and again with all features kept: the heads."""
    seconds = []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(2):
            begun = time.perf_counter()
            for candidate in params.zoo.candidates:
                probe_candidate(candidate, selection_inputs(data, params, ROOT, ArrayCache(Path(cache))))
            seconds.append(time.perf_counter() - begun)
    return seconds[0], seconds[1]


def select(data: TrainSet, params: Params) -> tuple[float, str]:
    """Seconds of a whole selection from nothing, and whom it chose."""
    with tempfile.TemporaryDirectory() as cache:
        begun = time.perf_counter()
        contest = run_selection(selection_inputs(data, params, ROOT, ArrayCache(Path(cache))), lambda line: None)
        return time.perf_counter() - begun, contest.winner.candidate.arch


def winners(found: dict[str, Naive], chosen: str) -> dict[str, Any]:
    """Whether graft chose the naive way's winner, or one within a standard error of it, by the naive way's scores."""
    means = {name: float(np.mean(item.scores)) for name, item in found.items()}
    best = max(means, key=means.__getitem__)
    error = standard_error(found[best].scores)
    return {
        "naive_means": {name: round(mean, 4) for name, mean in means.items()},
        "naive_winner": best,
        "naive_winner_se": round(error, 4),
        "same_or_within_one_se": means[chosen] >= means[best] - error,
    }


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="reckon the naive way from a few batches")
    quick = parser.parse_args().quick
    if not DATA.is_dir():
        raise SystemExit(f"needs the photographs in {DATA}")
    make_deterministic()
    params = settings()
    with tempfile.TemporaryDirectory() as scratch:
        places = Places(ROOT, ROOT, Path(scratch) / "cache", Path(scratch))
        data = train_part(str(DATA), params, places)
    run = naive_reckoned if quick else naive
    plain: dict[str, Naive] = {}
    ranking, heads, whole, chosen = [], [], [], ""
    for candidate in params.zoo.candidates:
        plain[candidate.arch] = run(candidate, data, params)
        cold, warm = rank_by_probes(data, params)
        ranking.append(cold)
        heads.append(warm)
        seconds, chosen = select(data, params)
        whole.append(seconds)
    naive_s = sum(item.seconds for item in plain.values())
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    head = {"benchmark": "selection", "commit": commit.stdout.strip(), "cores": available_cores(), "quick": quick}
    figures = {
        "load_average": os.getloadavg()[0],
        "images": len(data.labels),
        "size_px": SIZE,
        "folds": FOLDS,
        "epochs": EPOCHS,
        "naive_s": round(naive_s, 1),
        "naive_is_extrapolated": quick,
        "naive_steps_timed": sum(item.steps for item in plain.values()),
        "ranking_s": round(min(ranking), 2),
        "selection_s": round(min(whole), 2),
        "heads_s": round(min(heads), 2),
        "heads_share_of_selection": round(min(heads) / min(whole), 4),
        "ranking_speedup": round(naive_s / min(ranking), 1),
        "selection_speedup": round(naive_s / min(whole), 1),
        "chosen": chosen,
    }
    compared = {"naive_winner": None, "reason": "the naive way was not run whole"} if quick else winners(plain, chosen)
    print(json.dumps({**head, **figures, **compared}))


if __name__ == "__main__":
    main()
