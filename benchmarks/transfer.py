"""Does transfer pay? ImageNet and Tiny ImageNet weights against the same networks from scratch, with equal budget.

Run from the project's folder: `.venv/bin/python benchmarks/transfer.py`. Accuracy on test images with 95% intervals,
the paired difference with its interval and the verdict, for

* hymenoptera, all labels: EfficientNet-Lite0 with the ImageNet weights that are installed with graft;
* digits at 5, 20 and all labels per class: the same;
* both with ResNet-18 and its Tiny ImageNet weights beside, the weaker source.

Photographs and Tiny ImageNet weights are those of `../shared/data`; what is absent is left out, and said to be. With
`--quick` inputs are smaller, epochs and labels fewer, which the line tells; `--digits all` measures only the digits,
and of them only the rows of all labels (or of `5`, `20`). Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
TINY = SHARED / "weights" / "resnet18-tinyimagenet.safetensors"
OF_DATA = ("locate", "ingest", "validate", "split", "gather")
OF_MODELS = ("pretrain", "select", "tune", "finetune", "evaluate")


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is done: input sides in pixels (None: left out), epochs, labels per class of the digits (None: all)."""

    photographs_px: int | None
    digits_px: int
    epochs: int
    label_counts: tuple[int | None, ...]


FULL = Size(photographs_px=224, digits_px=64, epochs=20, label_counts=(5, 20, None))
QUICK = Size(photographs_px=64, digits_px=32, epochs=3, label_counts=(5,))


@dataclasses.dataclass(frozen=True)
class Source:
    """Pretrained weights to compare: a name, an architecture, and where its weights come from."""

    name: str
    arch: str
    weights: str
    side: int | None = None


IMAGENET = Source("imagenet", "timm:tf_efficientnet_lite0", "bundled")
TINY_IMAGENET = Source("tiny imagenet", "resnet18", str(TINY), side=64)


def params(data: str, labels: int | None, side: int, source: Source, size: Size) -> dict[str, Any]:
    """A params.yaml: everything not named here has its default."""
    photographs = data != "digits"
    candidate = {"arch": source.arch, "weights": source.weights, "size": source.side or side, "depth": "auto"}
    return {
        "data": {"source": data, "train_per_class": labels},
        "augment": {"policy": "light" if photographs else "digits", "domain": "natural" if photographs else "digits"},
        "zoo": {"candidates": [candidate]},
        "select": {"finalists": 1, "folds": 3 if labels else 5},
        "train": {"epochs": size.epochs},
    }


def run(folder: Path, values: dict[str, Any], stages: tuple[str, ...]) -> None:
    """Run stages of graft in ``folder`` with these settings."""
    from ruamel.yaml import YAML

    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(values, file)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for stage in stages:
        command = [str(ROOT / ".venv/bin/python"), "-m", f"graft.pipeline.{stage}"]
        began = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{stage}: {done.stderr}")
        print(f"{stage}: {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)


def found(folder: Path) -> dict[str, Any]:
    """What metrics.json says of transfer, rounded."""
    metrics = json.loads((folder / "reports/evaluation/metrics.json").read_text(encoding="utf-8"))
    transfer = metrics["transfer"]
    names = ("transfer_accuracy", "transfer_accuracy_ci95", "control_accuracy", "control_accuracy_ci95", "difference")
    return {
        **{name: _rounded(transfer[name]) for name in (*names, "difference_ci95")},
        "verdict": transfer["verdict"],
        "features_over_pixels": _rounded(transfer["similarity"]["features_over_pixels"]),
        "n_train": metrics["n_train"],
        "n_test": metrics["n_test"],
    }


def _rounded(value: float | list[float]) -> Any:
    return [round(item, 4) for item in value] if isinstance(value, list) else round(value, 4)


def measure(size: Size, scratch: Path) -> Iterator[dict[str, Any]]:
    """A row for each data set, number of labels and source."""
    jobs: list[tuple[str, int | None, int]] = [("digits", count, size.digits_px) for count in size.label_counts]
    if size.photographs_px is not None and (SHARED / "hymenoptera").is_dir():
        jobs.insert(0, (str(SHARED / "hymenoptera"), None, size.photographs_px))
    sources = [IMAGENET, *([TINY_IMAGENET] if TINY.exists() else [])]
    for number, (data, labels, side) in enumerate(jobs):
        folder = scratch / str(number)
        folder.mkdir()
        for source in sources:
            values = params(data, labels, side, source, size)
            began = time.perf_counter()
            run(folder, values, OF_MODELS if source is not sources[0] else (*OF_DATA, *OF_MODELS))
            told = {"data": Path(data).name, "labels_per_class": labels or "all", "source": source.name}
            seconds = round(time.perf_counter() - began, 1)
            yield {**told, "px": values["zoo"]["candidates"][0]["size"], **found(folder), "s": seconds}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller inputs, fewer epochs and labels")
    parser.add_argument("--digits", metavar="LABELS", nargs="+", help="only the digits, with so many labels per class")
    asked = parser.parse_args()
    size = QUICK if asked.quick else FULL
    if asked.digits:
        counts = tuple(None if count == "all" else int(count) for count in asked.digits)
        size = dataclasses.replace(size, photographs_px=None, label_counts=counts)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for row in measure(size, Path(scratch)):
            print(json.dumps(row), flush=True)
            rows.append(row)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    absent = [str(path) for path in (SHARED / "hymenoptera", TINY) if not path.exists()]
    head = {"benchmark": "transfer", "commit": commit, "cores": os.cpu_count(), **dataclasses.asdict(size), "seed": 0}
    print(json.dumps({**head, "absent": absent, "rows": rows}))


if __name__ == "__main__":
    main()
