"""What evaluation costs beyond the bare work: its rate against decode + forward alone, and time and memory of the rest.

    .venv/bin/python benchmarks/evaluation.py           # 10,000 images of 100 classes: some minutes
    .venv/bin/python benchmarks/evaluation.py --quick   # 600 images of 100 classes

Prints one JSON line. Images are generated (noise in the colour of their class, JPEG of 160 x 120 px), the model is a
MobileNetV3-small of random weights at 64 px. `rate_share` is evaluation's images a second over those of the bare work:
decoding, preprocessing and the forward pass of the same files in the same batches; both take turns in this process, and
of each the best round is told. `beyond_s` and `beyond_mb` are time and memory of all that follows inference (figures,
intervals, times, pictures, page, card, tables); the peak is sampled every 20 ms, over what was resident before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from graft.core.config import load_params
from graft.core.determinism import make_deterministic
from graft.core.files import write_csv
from graft.core.workspace import Workspace
from graft.evaluation.cost import Footprint, measure_cost
from graft.evaluation.evaluation import evaluate, write_tables
from graft.evaluation.explain.label_issues import label_issues_table
from graft.evaluation.held_out import read_held_out
from graft.evaluation.inference import BATCH
from graft.evaluation.model_metrics import resampling_of
from graft.evaluation.slices import slices_table
from graft.inference.artifact import Artifact, save_artifact
from graft.inference.predictor import Predictor
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.models.zoo.registry import build_network
from graft.pipeline.evaluate import MODEL, predict_all, report_context
from graft.reporting.html import render_html
from graft.reporting.model_card import render_model_card
from graft.tasks.registry import CLASSIFICATION

ROOT = Path(__file__).parents[1]
CLASSES = 100


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few images, one round")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(Path(scratch))
        images, rounds = (600, 1) if quick else (10_000, 2)
        make_workspace(workspace, images)
        figures = measure(workspace, rounds)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    head = {"benchmark": "evaluation", "commit": commit.stdout.strip(), "cores": os.cpu_count()}
    print(json.dumps({**head, "images": images, "classes": CLASSES, **figures}))


def make_workspace(workspace: Workspace, images: int) -> None:
    """Images, splits, out-of-fold logits and a model, as the stages before leave them."""
    rng = np.random.default_rng(0)
    tints = rng.integers(0, 255, (CLASSES, 3))
    rows = []
    for place in range(images + 10 * CLASSES):
        label = f"class {place % CLASSES:03}"
        path = workspace.raw / label / f"{place}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(-60, 60, (30, 40, 3)) + tints[place % CLASSES]
        Image.fromarray(noise.clip(0, 255).astype(np.uint8)).resize((160, 120)).save(path, quality=85)
        rows.append((f"{label}/{path.name}", label, "test" if place < images else "train", -1, f"g{place}"))
    splits = pd.DataFrame(rows, columns=["path", "label", "split", "fold", "group"])
    splits.to_parquet(workspace.splits)
    facts = splits[["path", "label"]].assign(source=splits["path"], width=160, height=120, format="JPEG", mode="RGB")
    for name in ("brightness", "contrast", "sharpness"):
        facts[name] = rng.random(len(facts))
    facts.to_parquet(workspace.manifest)
    train = splits[splits["split"] == "train"]
    said = pd.DataFrame(
        np.log(rng.dirichlet(np.ones(CLASSES), len(train))), columns=[f"logit:{c}" for c in sorted(set(train.label))]
    )
    workspace.selection.mkdir(parents=True)
    doubted = pd.concat([train[["path", "label", "fold"]].reset_index(drop=True), said], axis=1)
    doubted.to_parquet(workspace.selection / "out_of_fold.parquet")
    workspace.params.write_text("zoo:\n  candidates: [mobilenet_v3_small]\n", encoding="utf-8")
    torch.manual_seed(0)
    names = tuple(sorted(set(splits["label"])))
    preprocessing = ImagePreprocessor(Geometry(64, 1.0, "bilinear"), (0.5,) * 3, (0.5,) * 3)
    network = build_network("mobilenet_v3_small", CLASSES)
    save_artifact(workspace.finetuned, Artifact(names, "mobilenet_v3_small", "DEFAULT", None, preprocessing), network)


def measure(workspace: Workspace, rounds: int) -> dict[str, float]:
    """Rate of the whole against the bare work, and the price of what follows inference."""
    params = load_params(workspace.params)
    make_deterministic(params.compute.threads)
    model = Predictor.load(workspace.finetuned)
    held_out = read_held_out(workspace.splits, model.classes, CLASSIFICATION)
    files = [workspace.raw / path for path in held_out.paths]
    bare, inferred, beyond, peaks = [], [], [], []
    for _ in range(rounds):
        start = time.perf_counter()
        for first in range(0, len(files), BATCH):
            model.predict_batch([model.preprocess(file) for file in files[first : first + BATCH]])
        bare.append(time.perf_counter() - start)
        start = time.perf_counter()
        said = predict_all(params, workspace, held_out, {MODEL: model})
        inferred.append(time.perf_counter() - start)
        with peak_memory() as peak:
            start = time.perf_counter()
            cost = measure_cost(model, workspace.finetuned, files[:30], Footprint(None, "a benchmark"))
            found = evaluate(held_out, said, cost, resampling_of(held_out, 0))
            shown = report_context(params, workspace, model, found)
            page, card = render_html(shown), render_model_card(shown)
            write_tables(found, workspace.root)
            write_csv(workspace.root / "slices.csv", slices_table(shown.slices))
            write_csv(workspace.root / "suspects.csv", label_issues_table(shown.suspects))
            beyond.append(time.perf_counter() - start)
        peaks.append(peak[0])
    return {
        "bare_images_per_s": round(len(files) / min(bare), 1),
        "rate_share": round(min(bare) / min(inferred), 3),
        "beyond_s": round(min(beyond), 2),
        "beyond_mb": round(min(peaks), 1),
        "page_mb": round(len(page.encode()) / 1e6, 2),
        "card_kb": round(len(card.encode()) / 1e3, 1),
    }


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """The most megabytes resident inside the block, over what was resident before; filled in at its end."""
    done, found = threading.Event(), [0.0]
    before = resident_mb()

    def watch() -> None:
        while not done.wait(0.02):
            found[0] = max(found[0], resident_mb() - before)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def resident_mb() -> float:
    """Megabytes of 1,000,000 bytes that this process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
