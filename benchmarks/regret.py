"""What the cheap choice costs in accuracy: regret against fine-tuning all candidates, on five data sets.

Run from the project's folder: `.venv/bin/python benchmarks/regret.py`. Data: graft's digits; ants and bees, steel
surfaces and two halves of CIFAR-10's classes from ../shared/data (what is absent is left out, and the JSON says so).
Candidates: EfficientNet-Lite0, Lite1 and Lite2 with ImageNet weights (the latter two of the extra `weights`), ResNet-18
with weights of Tiny ImageNet, and ResNet-18 with random ones. Every candidate is fine-tuned in every fold, by the
same code and schedule as finalists are. Regret is the best of their mean accuracies less that of the choice, in
percentage points:

* `graft`: the rule's choice between the two best by probe;
* `static`: the candidate whose weights have the highest published ImageNet accuracy;
* `probe`, `knn`, `logme`: the first by that score alone.

`--quick` takes fewer images, folds and epochs. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graft.config import parse_params
from graft.determinism import available_cores, make_deterministic
from graft.features.store import Store
from graft.images.builtin import write_digits
from graft.progress import track
from graft.select.agreement import correlations
from graft.select.candidates import Result, finetune_in_folds, probe_candidate, with_tuned
from graft.select.controls import first_by_imagenet
from graft.select.datasets import Places, train_part
from graft.select.depth import standard_error
from graft.select.rule import choose, finalists
from graft.settings import Params

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared/data"
TINY = SHARED / "weights/resnet18-tinyimagenet.safetensors"
HALVES = {
    "cifar_transport": ("airplane", "automobile", "ship", "truck", "bird"),
    "cifar_animals": ("cat", "deer", "dog", "frog", "horse"),
}
SPARE = 2  # images of each class beyond those for training, which dividing needs for its test


@dataclass(frozen=True)
class Form:
    """How much is run: training images of each class, and at least so many of all together; folds; epochs."""

    per_class: int
    in_all: int
    folds: int
    epochs: int

    def images(self, classes: int) -> int:
        """Training images of each of so many classes."""
        return max(self.per_class, self.in_all // classes)


LONG, QUICK = Form(20, 150, 4, 8), Form(9, 60, 3, 3)


def first_images(form: Form, scratch: Path) -> Iterator[tuple[str, int, Path]]:
    """Each data set's name, its training images of each class, and a folder with the first so many and a few more."""
    count = form.images(10)
    write_digits(scratch / "all_digits")
    yield "digits", count, some_of(scratch / "all_digits", count + SPARE, scratch / "digits")
    if (SHARED / "hymenoptera").is_dir():
        count = form.images(2)
        folder = some_of(SHARED / "hymenoptera/train", count + SPARE, scratch / "hymenoptera")
        yield "hymenoptera", count, folder
    if (SHARED / "neu-steel.tar").is_file():
        count = form.images(6)
        archive, target = SHARED / "neu-steel.tar", scratch / "neu_steel"
        yield "neu_steel", count, some_of_tar(archive, "neu-steel/", None, count + SPARE, target)
    if (SHARED / "cifar10.tar.xz").is_file():
        for name, classes in HALVES.items():
            count = form.images(len(classes))
            archive, target = SHARED / "cifar10.tar.xz", scratch / name
            yield name, count, some_of_tar(archive, "train/", classes, count + SPARE, target)


def some_of(folder: Path, count: int, target: Path) -> Path:
    """Copy the first ``count`` images of every class folder."""
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
        (target / kind.name).mkdir(parents=True)
        for path in sorted(kind.iterdir())[:count]:
            shutil.copy(path, target / kind.name)
    return target


def some_of_tar(archive: Path, inside: str, classes: tuple[str, ...] | None, count: int, target: Path) -> Path:
    """Unpack the first ``count`` images, as the archive has them, of ``<inside><class>/``; ``classes`` None: of all."""
    taken: Counter[str] = Counter()
    with tarfile.open(archive) as tar:
        for member in tar:
            kind = Path(member.name).parent.name
            wanted = member.isfile() and inside in member.name and (classes is None or kind in classes)
            if not wanted or taken[kind] == count:
                continue
            taken[kind] += 1
            content = tar.extractfile(member)
            assert content is not None
            (target / kind).mkdir(parents=True, exist_ok=True)
            (target / kind / Path(member.name).name).write_bytes(content.read())
            if classes is not None and all(taken[name] == count for name in classes):
                break
    return target


def settings(form: Form, per_class: int) -> Params:
    """Five candidates, or four where Tiny ImageNet's weights are absent."""
    lites: list[dict[str, Any]] = [
        {"arch": f"timm:tf_efficientnet_lite{number}", "weights": "bundled", "size": 64, "depth": "auto"}
        for number in range(3)
    ]
    plain = {"arch": "resnet18", "size": 64, "depth": "auto"}
    tiny = [{**plain, "weights": str(TINY)}] if TINY.is_file() else []
    values = {
        "data": {"train_per_class": per_class},
        "zoo": {"candidates": [*lites, *tiny, {**plain, "weights": "none"}]},
        "select": {"folds": form.folds, "finalists": 2, "finetune_epochs": form.epochs},
    }
    return parse_params(values, "benchmark")


def study(name: str, folder: Path, params: Params, scratch: Path) -> dict[str, Any]:
    """All candidates probed and fine-tuned on one data set, and what each way of choosing would have lost."""
    data = train_part(str(folder), params, Places(ROOT, ROOT, scratch / "cache", scratch / "built-in"))
    store = Store(scratch / "cache")
    probed = [probe_candidate(candidate, data, params, ROOT, store) for candidate in params.zoo.candidates]
    folds = np.unique(data.folds).tolist()
    tuned = [
        with_tuned(item, [finetune_in_folds(item, folds, data, params, ROOT, store)], data)
        for item in track(probed, f"fine-tuning on {name}")
    ]
    best = max(item.mean for item in tuned)
    able = [tuned[probed.index(item)] for item in finalists(probed, params.select.finalists)]
    picks = {"graft": choose(able), **by_one_score(tuned)}
    return {
        "data": name,
        "images": len(data.labels),
        "finetuned": {_label(item): round(item.mean, 4) for item in tuned},
        "se_of_best": round(standard_error(max(tuned, key=lambda item: item.mean).scores), 4),
        "probe": {_label(item): round(item.probe.mean, 4) for item in tuned},
        "choice": _label(picks["graft"]),
        "regret_points": {key: round(100 * (best - item.mean), 2) for key, item in picks.items()},
        "spearman_of_probe": correlations([item.probe.mean for item in tuned], [item.mean for item in tuned])[0],
    }


def by_one_score(tuned: list[Result]) -> dict[str, Result]:
    """The first by each score alone."""
    static = first_by_imagenet(tuned)
    assert static is not None, "the bundled weights have a published accuracy"
    return {
        "static": static,
        "probe": max(tuned, key=lambda item: item.probe.mean),
        "knn": max(tuned, key=lambda item: item.knn or 0.0),
        "logme": max(tuned, key=lambda item: item.logme or -np.inf),
    }


def _label(item: Result) -> str:
    return f"{item.candidate.arch.removeprefix('timm:tf_')}/{Path(item.candidate.weights).stem}"


def main() -> None:
    """Run every data set and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images, folds and epochs")
    quick = parser.parse_args().quick
    form = QUICK if quick else LONG
    make_deterministic()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        found = [
            study(data, folder, settings(form, count), scratch) for data, count, folder in first_images(form, scratch)
        ]
    ways = found[0]["regret_points"]
    mean = {way: round(float(np.mean([item["regret_points"][way] for item in found])), 2) for way in ways}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    head = {"benchmark": "regret", "commit": commit.stdout.strip(), "cores": available_cores(), "quick": quick}
    shape = {"folds": form.folds, "epochs": form.epochs}
    figures = {
        "seconds": round(time.perf_counter() - begun, 1),
        "data_sets": len(found),
        "candidates": len(found[0]["finetuned"]),
        "mean_regret_points": mean,
        "not_more_than_static": mean["graft"] <= mean["static"],
    }
    print(json.dumps({**head, **shape, **figures, "by_data": found}))


if __name__ == "__main__":
    main()
