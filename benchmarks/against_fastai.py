"""One short fine-tuning of ResNet-18 at 224 px on photographs of ants and bees: graft against fastai.

Run from the project's folder: `.venv/bin/python benchmarks/against_fastai.py --data ../shared/data`. Both sides do what
fastai's `fine_tune(1, freeze_epochs=1)` does: the head alone, then one epoch of everything, from the same weights
(those of Tiny ImageNet in ../shared/data/weights), batches of 32, no augmentation. Timed is everything from the first
file read to the accuracy on the validation images, without the start of Python and the import of libraries. fastai
looks at the validation images after each of its two epochs, as it always does, and the last look is its accuracy;
graft solves its head on features that are computed once, and looks at them when it is done. The sides take turns, each
run in a process of its own. fastai lives in a virtual environment of its own, made by the benchmark in --venv (some
minutes, and access to the package index). `--quick`: one seed. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

SIZE, BATCH = 224, 32
# Of graft's head; the blocks have a tenth of it. Chosen on a fifth of the training images, the validation images left
# alone: 0.49 nats there, 0.51 with 0.001, 0.61 with 0.003, which is too much for eight steps from a solved
# head. fastai has its own rates (0.002 for the head, then 0.00001 to 0.001 from the first layer to the head).
RATE = 0.0003
PACKAGES = ("fastai==2.8.12", "torch==2.13.0", "torchvision==0.28.0", "safetensors")

# Run by the other environment's Python: fastai's own recipe, with these weights where it would download ImageNet's.
FASTAI = """
import sys, time, json
data, weights, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
import torch
library = torch.library.Library("torchvision", "FRAGMENT")
try:
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
except RuntimeError:
    pass
from fastai.vision.all import *
from safetensors.torch import load_file
from torchvision.models import resnet18
set_seed(seed, reproducible=True)
began = time.perf_counter()
loaders = ImageDataLoaders.from_folder(
    data, train="train", valid="val", item_tfms=Resize(SIZE), batch_tfms=Normalize.from_stats(*imagenet_stats),
    bs=BATCH, num_workers=WORKERS, seed=seed)
learner = vision_learner(loaders, resnet18, pretrained=False, normalize=False, metrics=accuracy)
given = {k: v for k, v in load_file(weights).items() if not k.startswith("fc.")}
body = learner.model[0].state_dict()
ours = [k for k in body if not k.endswith("num_batches_tracked")]
theirs = [k for k in given if not k.endswith("num_batches_tracked")]
model = resnet18()
order = [k for k in model.state_dict() if not k.startswith("fc.") and not k.endswith("num_batches_tracked")]
assert len(order) == len(ours)
body.update({name: given[key] for name, key in zip(ours, order)})
learner.model[0].load_state_dict(body)
with learner.no_bar(), learner.no_logging():
    learner.fine_tune(1, freeze_epochs=1)
said = learner.recorder.values[-1][-1]
print(json.dumps({"seconds": time.perf_counter() - began, "accuracy": float(said)}))
"""


def graft(data: Path, weights: Path, seed: int) -> None:
    """Our side, in a process of its own: prints one JSON line."""
    from graft.core.compat.openmp import wait_briefly

    wait_briefly()
    # What graft imports when it is needed; fastai imports all of its own before the clock starts.
    import lightning_fabric  # noqa: F401
    import numpy as np
    import sklearn.linear_model  # noqa: F401

    from graft.core.determinism import make_deterministic
    from graft.core.files import sha256
    from graft.core.settings import Candidate, Compute, Train
    from graft.features.cache import ArrayCache
    from graft.features.extraction import Extractor
    from graft.features.image_cache import ImageSet
    from graft.inference.pretrained import load_pretrained
    from graft.models.backbone import cut
    from graft.models.weights.locate import WeightsContext
    from graft.selection.candidates import extractor_for
    from graft.training.compute.devices import fabric_for
    from graft.training.compute.precision_autotune import ModeAutotuner
    from graft.training.finetune import FineTuningData, TrainingRun, finetune
    from graft.training.logits import logits_of
    from graft.training.strategies import STRATEGIES

    make_deterministic()
    began = time.perf_counter()
    files = sorted(path for path in data.glob("*/*/*") if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".gif"})
    classes = sorted({path.parent.name for path in files})
    fabric = fabric_for("cpu")
    with tempfile.TemporaryDirectory() as cache:
        store, folder = ArrayCache(Path(cache)), Path(cache)
        found = load_pretrained(
            Candidate(arch="resnet18", weights=str(weights), size=SIZE), WeightsContext(folder, True, seed)
        )
        network = cut(found.network, len(found.network.blocks) - 1, len(classes))
        settings = Train(
            unfreeze=1.0,
            epochs=1,
            batch_size=BATCH,
            learning_rate=RATE,
            backbone_lr_ratio=0.1,
            layer_decay=1.0,
            label_smoothing=0.0,
        )
        plan = STRATEGIES["finetune"].plan(len(network.blocks), settings)

        def images(part: str) -> tuple[Extractor, np.ndarray]:
            of_part = [path for path in files if path.parts[-3] == part]
            names, digests = (str(path.relative_to(data)) for path in of_part), (sha256(path) for path in of_part)
            given = ImageSet(data, tuple(names), tuple(digests))
            labels = np.array([classes.index(path.parent.name) for path in of_part])
            return extractor_for(given, found.preprocessing, store, fabric.device), labels

        shown, labels = images("train")
        task = FineTuningData(shown, labels, np.ones(len(labels), dtype=bool))
        mode = ModeAutotuner(Compute(device="cpu"), folder)(network, plan, task, settings, fabric.device)
        trained = finetune(network, plan, task, TrainingRun(settings, seed, fabric, mode=mode)).network
        unseen, truth = images("val")
        logits = logits_of(trained, unseen.activations(trained, 0, np.ones(len(truth), dtype=bool)))
        accuracy = float(np.mean(logits.argmax(1).numpy() == truth))
        print(json.dumps({"seconds": time.perf_counter() - began, "accuracy": accuracy}))


def environment(folder: Path) -> Path:
    """A Python that has fastai."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making an environment with fastai in {folder}: some minutes", file=sys.stderr)
        venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


def run(command: list[str]) -> dict[str, float]:
    """The JSON line that a process ends with."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def main() -> None:
    """Let both sides take turns, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--venv", type=Path, default=Path(tempfile.gettempdir()) / "graft-fastai")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    data, weights = given.data / "hymenoptera", given.data / "weights" / "resnet18-tinyimagenet.safetensors"
    if not data.is_dir() or not weights.is_file():
        raise SystemExit(f"there is no {data} or no {weights}: name the folder that holds both with --data")
    if given.seed is not None:
        graft(data, weights, given.seed)
        return
    python = environment(given.venv)
    # fastai's own default on Linux is more workers than cores; as many as there are cores is the quickest here.
    workers = len(os.sched_getaffinity(0))
    program = FASTAI.replace("SIZE", str(SIZE)).replace("BATCH", str(BATCH)).replace("WORKERS", str(workers))
    ours, theirs = [], []
    for seed in range(1 if given.quick else 3):
        ours.append(run([sys.executable, __file__, "--data", str(given.data), "--seed", str(seed)]))
        theirs.append(run([str(python), "-c", program, str(data), str(weights), str(seed)]))
        print(f"seed {seed}: graft {ours[-1]}, fastai {theirs[-1]}", file=sys.stderr)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    figures = {
        "graft_s": [round(item["seconds"], 1) for item in ours],
        "fastai_s": [round(item["seconds"], 1) for item in theirs],
        "times_as_fast": round(
            statistics.median(t["seconds"] / o["seconds"] for o, t in zip(ours, theirs, strict=True)), 2
        ),
        "graft_accuracy": [round(item["accuracy"], 4) for item in ours],
        "fastai_accuracy": [round(item["accuracy"], 4) for item in theirs],
    }
    print(
        json.dumps({"benchmark": "against_fastai", "commit": commit.stdout.strip(), "cores": os.cpu_count(), **figures})
    )


if __name__ == "__main__":
    main()
