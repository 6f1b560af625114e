"""What fine-tuning brings over the head alone on new images, and how long each takes, beside a plain script if given.

Run from the project's folder: `.venv/bin/python benchmarks/finetuning.py [--rival PATH] [--quick]`. Data, out of
../shared/data: steel surfaces of NEU (20 images a class), cartoons and photographs of PACS (10), caltech20 (10); what
is absent is left out, and said to be. The test is the rest, at most 100 images a class; the draw follows from the seed.
The whole of EfficientNet-Lite0, with ImageNet weights, at 128 px and with default settings: the head alone
(`extract`), head and blocks (`finetune`), and the network between its first and last weights (`wise_ft`). Seconds
run from features, which are kept before the clock starts, to weights.

`--rival PATH` runs a script on the same images after each of graft's turns, as `PATH TRAIN TEST --size 128 --epochs 12
--lr 3e-4 --seeds 1`; its last line is JSON with `lp`, `ft` and `ema` (test accuracy of the head alone, of the
fine-tuned network, of its averaged weights), `lp_s` and `ft_s` (seconds). `--quick`: one data set, one seed. Ends with
one JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graft.core.compat.openmp import wait_briefly

wait_briefly()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from drawn_sets import SHARED, DrawnSet, present_sets  # noqa: E402

from graft.core.config import parse_params  # noqa: E402
from graft.core.determinism import available_cores, make_deterministic  # noqa: E402
from graft.core.files import sha256  # noqa: E402
from graft.core.settings import Candidate  # noqa: E402
from graft.features.cache import ArrayCache  # noqa: E402
from graft.features.image_cache import ImageSet  # noqa: E402
from graft.inference.pretrained import load_pretrained  # noqa: E402
from graft.models.weights.locate import WeightsContext  # noqa: E402
from graft.pipeline.inputs.selection import selection_inputs  # noqa: E402
from graft.selection.candidates import extractor_for  # noqa: E402
from graft.selection.finalists import trainer_for  # noqa: E402
from graft.selection.inputs import TrainSet  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SIZE, SEEDS = 128, (0, 1)
CANDIDATE = Candidate("timm:tf_efficientnet_lite0", "bundled", "last", SIZE)
RIVAL = ("--size", str(SIZE), "--epochs", "12", "--lr", "3e-4", "--seeds", "1")


# What is drawn, and what varies it in training.
POLICIES: dict[str, Any] = {
    "cartoon": "standard",
    "photo": "standard",
    "caltech20": "standard",
    "neu_steel": {"light": {"crop": 0.6}},
}


def graft(part: DrawnSet, seed: int, folder: Path, cache: Path) -> dict[str, Any]:
    """Test accuracy of the head alone, fine-tuned, and of what lies between; seconds from features."""
    files = sorted(folder.glob("*/*/*"))
    classes = tuple(sorted({file.parent.name for file in files}))
    images = ImageSet(folder, tuple(str(file.relative_to(folder)) for file in files), tuple(map(sha256, files)))
    labels = np.array([classes.index(file.parent.name) for file in files], np.int64)
    train = np.array([file.parts[-3] == "train" for file in files])
    data = TrainSet(images, labels, np.zeros_like(labels), classes)
    params = parse_params({"seed": seed, "augment": {"policy": POLICIES[part.name]}}, "benchmark")
    given, whole = (
        selection_inputs(data, params, ROOT, ArrayCache(cache)),
        load_pretrained(CANDIDATE, WeightsContext(ROOT, offline=False, seed=params.seed)).network,
    )
    trainer = trainer_for(CANDIDATE, len(whole.blocks) - 1, given)
    preprocessing = trainer.transfer.preprocessing
    extractor = extractor_for(images, preprocessing, given.store, torch.device("cpu"))
    extractor.activations(whole, len(whole.blocks), train)
    found: dict[str, Any] = {"images": int(train.sum()), "tested": int((~train).sum())}
    trained = {}
    for strategy, short in (("extract", "lp"), ("finetune", "ft")):
        began = time.perf_counter()
        trained[short] = trainer.fit(strategy, train, purpose=())
        found[f"{short}_s"] = round(time.perf_counter() - began, 1)
    trained["mean"] = trainer.interpolated(trained["ft"], "wise_ft", train)
    for short, network in trained.items():
        predicted = trainer.logits(network, "finetune", ~train).argmax(1)
        found[short] = round(float((predicted == labels[~train]).mean()), 4)
    return found


def rival(script: Path, folder: Path) -> dict[str, Any]:
    """What the script says of the same images."""
    command = [sys.executable, str(script), str(folder / "train"), str(folder / "test"), *RIVAL]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return {name: said[name] for name in ("lp", "ft", "ema", "lp_s", "ft_s")}


def measure(parts: list[DrawnSet], seeds: tuple[int, ...], script: Path | None) -> Iterator[dict[str, Any]]:
    """A row for each data set and seed; the sides take turns."""
    for part in parts:
        for seed in seeds:
            with tempfile.TemporaryDirectory() as scratch:
                folder = part.draw(seed, Path(scratch) / "images")
                row = {"data": part.name, "seed": seed, "graft": graft(part, seed, folder, Path(scratch) / "cache")}
                yield row if script is None else {**row, "rival": rival(script, folder)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rival", type=Path, help="a plain script that is run on the same images")
    parser.add_argument("--quick", action="store_true", help="one data set, one seed")
    given = parser.parse_args()
    present, absent = present_sets(POLICIES)
    if absent:
        print(f"left out, as {SHARED} lacks their archives: {', '.join(absent)}", file=sys.stderr)
    make_deterministic()
    rows = []
    for row in measure(present[:1] if given.quick else present, SEEDS[:1] if given.quick else SEEDS, given.rival):
        print(json.dumps(row), flush=True)
        rows.append(row)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    head = {"benchmark": "finetuning", "commit": commit.stdout.strip(), "cores": available_cores()}
    print(json.dumps({**head, "quick": given.quick, "size_px": SIZE, "absent": absent, "rows": rows}))


if __name__ == "__main__":
    main()
