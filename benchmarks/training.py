"""Training rates: the mode that the trial chooses against plain float32, and head epochs on kept features.

Run from the project's folder: `.venv/bin/python benchmarks/training.py`; `--quick` takes smaller images and fewer
repeats. For each of ten networks the trial chooses a mode; then that mode and plain float32 (channels first, all
threads) take turns in fresh measurements, and the best step of each counts. A head's epoch on features that were kept
is held against one that runs the frozen backbone, with the same order of images, and must give the same loss. Ends
with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

from graft.core.compat.openmp import wait_briefly

wait_briefly()

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from graft.core.determinism import available_cores, make_deterministic  # noqa: E402
from graft.models.zoo.registry import build_network  # noqa: E402
from graft.training.compute.devices import fabric_for  # noqa: E402
from graft.training.compute.precision import full_precision_mode, modes_to_try  # noqa: E402
from graft.training.compute.precision_autotune import time_modes, training_step  # noqa: E402
from graft.training.trainer import random_batches  # noqa: E402

NETWORKS = (
    "resnet18",
    "resnet50",
    "mobilenet_v3_small",
    "mobilenet_v2",
    "efficientnet_b0",
    "shufflenet_v2_x1_0",
    "regnet_y_400mf",
    "densenet121",
    "convnext_tiny",
    "swin_t",
)
CLASSES = 10


def precision(arch: str, size: int, batch: int, repeats: int) -> dict[str, object]:
    """The chosen mode's speed over plain float32, each by its best of ``repeats`` steps, taking turns."""
    torch.manual_seed(0)
    network = build_network(arch, CLASSES, size=size)
    images = torch.randn(batch, 3, size, size)
    threads = available_cores()
    trial = time_modes(
        network, images, CLASSES, modes_to_try(torch.device("cpu"), threads), lambda kind: fabric_for("cpu", kind)
    )
    sides = (full_precision_mode(threads), trial.chosen)
    steps = [training_step(network, images, CLASSES, mode, fabric_for("cpu", mode.precision)) for mode in sides]
    best = [float("inf")] * 2
    for repeat in range(repeats + 1):
        for side, step in enumerate(steps):
            began = time.perf_counter()
            step()
            if repeat:  # the first step pays for memory and kernels
                best[side] = min(best[side], time.perf_counter() - began)
    return {
        "mode": str(trial.chosen),
        "plain_ms": round(1000 * best[0], 1),
        "times_as_fast": round(best[0] / best[1], 2) if sides[0] != sides[1] else 1.0,
    }


def head_epochs(size: int, count: int) -> dict[str, float]:
    """Seconds of an epoch with the frozen backbone running and with its features kept, and the losses' difference."""
    torch.manual_seed(0)
    network = build_network("resnet18", CLASSES, size=size).eval()
    images, labels = torch.randn(count, 3, size, size), torch.arange(count) % CLASSES
    with torch.no_grad():
        kept = torch.cat([network.features(part) for part in images.split(64)])
    losses, seconds = [], []
    for inputs, frozen in ((images, network.features), (kept, torch.nn.Identity())):
        head = torch.nn.Linear(kept.shape[1], CLASSES)
        with torch.no_grad():
            head.weight.copy_(network.head.weight)
            head.bias.copy_(network.head.bias)
        epochs = 1 if frozen == network.features else 20
        losses.append(epoch_of(head, inputs, labels, frozen, 0))
        began = time.perf_counter()
        for number in range(1, 1 + epochs):
            epoch_of(head, inputs, labels, frozen, number)
        seconds.append((time.perf_counter() - began) / epochs)
    return {
        "frozen_epoch_s": round(seconds[0], 3),
        "kept_epoch_s": round(seconds[1], 5),
        "times_as_fast": round(seconds[0] / seconds[1], 1),
        "loss_difference": abs(losses[0] - losses[1]),
    }


def epoch_of(
    head: torch.nn.Linear, inputs: Tensor, labels: Tensor, frozen: Callable[[Tensor], Tensor], number: int
) -> float:
    """One epoch of plain gradient descent on the head; its mean loss."""
    optimizer = torch.optim.SGD(head.parameters(), lr=0.01)
    total = 0.0
    for indices in random_batches(len(labels), 32, 0, number):
        with torch.no_grad():
            features = frozen(inputs[indices])
        loss = F.cross_entropy(head(features), labels[indices])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += float(loss.detach()) * len(indices)
    return total / len(labels)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller images, fewer repeats")
    quick = parser.parse_args().quick
    make_deterministic()
    size, batch, repeats = (64, 16, 4) if quick else (128, 32, 8)
    figures: dict[str, object] = {}
    for arch in NETWORKS:
        figures[arch] = precision(arch, size, batch, repeats)
        print(f"{arch}: {figures[arch]}", file=sys.stderr)
    head = head_epochs(128 if quick else 224, 128 if quick else 256)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    said = {"benchmark": "training", "commit": commit.stdout.strip(), "cores": os.cpu_count(), "side_px": size}
    amx = bool(torch.cpu._is_amx_tile_supported())
    print(json.dumps({**said, "batch": batch, "amx": amx, "precision": figures, "head": head}))


if __name__ == "__main__":
    main()
