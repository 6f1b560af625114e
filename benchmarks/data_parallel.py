"""Two processes that train together on CPUs (gloo) against one: the same network, and how much faster.

Run from the project's folder: `.venv/bin/python benchmarks/data_parallel.py`; `--quick` takes smaller images and fewer
steps. ResNet-18 is fine-tuned whole on made images in three ways, which take turns: one process with one thread, one
process with as many threads as there are cores, and two processes that share the cores. Every batch has the same images
in all three. Timed are the steps after the first, of the best round; starting processes is not. Ends with one JSON
line: images a second of each way, what two processes are worth against one (`scaling`, of the same threads each, and
`against_threads`, of the same cores), and the largest difference of any weight, of the losses and of the logits between
one process and two. Sums of another order round differently, and training makes that grow; beside it stand therefore
`of_threads`, between one thread and two of one process, and `in_double`, between one process and two in float64.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.compat.openmp import wait_briefly

wait_briefly()

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from graft.core.determinism import available_cores, make_deterministic  # noqa: E402
from graft.core.settings import Compute, Train  # noqa: E402
from graft.models.zoo.registry import build_network  # noqa: E402
from graft.training.compute.distributed import launch  # noqa: E402
from graft.training.finetune import TrainingRun, train_stage  # noqa: E402
from graft.training.inputs import CachedActivations  # noqa: E402
from graft.training.logits import logits_of  # noqa: E402
from graft.training.strategies import finetune_plan  # noqa: E402
from graft.training.trainer import EpochLoss, StageData  # noqa: E402

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CLASSES = 4


@dataclass(frozen=True)
class Size:
    """How much is done: side of the images in pixels, images a step, steps an epoch, epochs, rounds."""

    side: int
    batch: int
    steps: int
    epochs: int
    rounds: int


FULL, QUICK = Size(128, 32, 6, 2, 3), Size(32, 8, 3, 1, 1)


def train(fabric: Fabric, size: Size, threads: int, kind: torch.dtype, out: Path) -> None:
    """Work of one process; the first one writes its weights, losses, logits and the rate of its steps."""
    make_deterministic(threads)
    torch.manual_seed(0)
    network = build_network("resnet18", CLASSES, size=size.side).to(kind)
    labels = torch.arange(size.batch * size.steps) % CLASSES
    images = (torch.rand(len(labels), 3, size.side, size.side) + 0.3 * labels.view(-1, 1, 1, 1)).to(kind)
    settings = Train(batch_size=size.batch, epochs=size.epochs, unfreeze=1.0)
    stage = finetune_plan(len(network.blocks), settings).stage
    assert stage is not None, "there are epochs"
    moments: list[float] = []

    def note(point: EpochLoss) -> None:
        moments.append(time.perf_counter())

    fabric.barrier()
    began = time.perf_counter()
    points = train_stage(
        network, stage, StageData(CachedActivations(images), labels), TrainingRun(settings, 0, fabric, report=note)
    )
    if fabric.is_global_zero:
        logits = logits_of(network, images[: size.batch])
        losses = torch.tensor([point.train_loss for point in points], dtype=torch.float64)
        tensors = {f"weights.{name}": value.contiguous() for name, value in network.state_dict().items()}
        save_file({**tensors, "logits": logits, "losses": losses}, out)
        rate = len(labels) / min(end - start for start, end in pairwise([began, *moments]))
        out.with_suffix(".json").write_text(json.dumps(rate), encoding="utf-8")


def difference(one: Path, two: Path) -> dict[str, float]:
    """The largest absolute difference of the weights, the losses (nats) and the logits of two trainings."""
    a, b = load_file(one), load_file(two)
    found = {"weights": 0.0, "losses": 0.0, "logits": 0.0}
    for name, value in a.items():
        kind = name.partition(".")[0]
        found[kind] = max(found[kind], float((value.double() - b[name].double()).abs().max()))
    return {kind: float(f"{value:.2g}") for kind, value in found.items()}


def measure(size: Size, folder: Path) -> dict[str, Any]:
    """All three ways in turns."""
    cores = available_cores()
    each = max(1, cores // 2)
    ways = {"one_process": (1, each), "one_process_all_cores": (1, cores), "two_processes": (2, each)}
    best = dict.fromkeys(ways, 0.0)

    def trained(name: str, kind: torch.dtype = torch.float32) -> Path:
        devices, threads = ways[name]
        out = folder / f"{name}-{kind}.safetensors"
        launch(train, Compute(device="cpu", devices=devices, threads=threads), size, threads, kind, out)
        return out

    written: dict[str, Path] = {}
    for number in range(size.rounds):
        for name in ways:
            written[name] = trained(name)
            rate = json.loads(written[name].with_suffix(".json").read_text(encoding="utf-8"))
            best[name] = max(best[name], rate)
            print(f"round {number + 1}, {name}: best {best[name]:.1f} images/s", file=sys.stderr, flush=True)
    in_double = [trained(name, torch.float64) for name in ("one_process", "two_processes")]
    return {
        "threads_each": each,
        "images_per_s": {name: round(rate, 1) for name, rate in best.items()},
        "scaling": round(best["two_processes"] / best["one_process"], 2),
        "against_threads": round(best["two_processes"] / best["one_process_all_cores"], 2),
        "largest_difference": {
            "of_processes": difference(written["one_process"], written["two_processes"]),
            "of_threads": difference(written["one_process"], written["one_process_all_cores"]),
            "in_double": difference(*in_double),
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller images, fewer steps, one round")
    size = QUICK if parser.parse_args().quick else FULL
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(size, Path(scratch))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    head = {"benchmark": "data_parallel", "commit": commit.stdout.strip(), "cores": os.cpu_count(), **asdict(size)}
    print(json.dumps({**head, **figures}))


if __name__ == "__main__":
    main()
