"""What the cheap choice costs in accuracy: regret against fine-tuning all candidates, on five data sets.

Run from the project's folder: `.venv/bin/python benchmarks/regret.py`. Data: graft's digits; ants and bees, steel
surfaces and two halves of CIFAR-10's classes from ../shared/data (what is absent is left out, and the JSON says so).
Candidates: EfficientNet-Lite0, Lite1 and Lite2 with ImageNet weights (the latter two of the extra `weights`), ResNet-18
with weights of Tiny ImageNet, and ResNet-18 with random ones. Every candidate is trained in every fold as finalists
are, head alone and fine-tuned (`exhaustive`), and, as the better of the two, once on all training images; that network
is then asked for test images that nothing was chosen by. The ways of choosing:

* `exhaustive`: the best mean over the folds of all candidates, trained;
* `graft`: the rule's choice between the two best by probe;
* `static`: the candidate whose weights have the highest published ImageNet accuracy;
* `probe`, `knn`, `logme`: the first by that score alone.

Regret is what a way of choosing loses against `exhaustive`, in percentage points, twice: by the accuracy on the test
images (`regret_points`), and by the means over the folds (`regret_in_folds_points`). The latter is flattering to
`exhaustive`, which is the best of five noisy figures and is then compared by the same figures.

Whether fine-tuning harms is told beside: in how many cases, a case being a data set and a candidate, it was in the
folds at least as good as the candidate's own linear probe less one standard error (`finetuned_not_below_probe`).

`--quick` takes fewer images, folds and epochs. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import dataclasses
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

from graft.augmentation.auto_policy import AUTO, ENOUGH, SAMPLE, VisualTraits, detect_domain
from graft.cli.ranking import Places, train_part
from graft.core.config import parse_params
from graft.core.determinism import available_cores, make_deterministic
from graft.core.files import sha256
from graft.core.progress import track
from graft.core.settings import Params
from graft.data.sources.digits import write_digits
from graft.features.cache import ArrayCache
from graft.features.image_cache import ImageSet, ListedFiles
from graft.modalities.image.decode import decode
from graft.pipeline.inputs.selection import selection_inputs
from graft.selection.best import standard_error
from graft.selection.candidates import CandidateResult, probe_candidate, with_scores
from graft.selection.controls import first_by_imagenet
from graft.selection.finalists import train_in_folds, trainer_for
from graft.selection.inputs import SelectionInputs, TrainSet
from graft.selection.report.proxy_correlation import correlations
from graft.selection.rule import choose_winner, finalists

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared/data"
TINY = SHARED / "weights/resnet18-tinyimagenet.safetensors"
HALVES = {
    "cifar_transport": ("airplane", "automobile", "ship", "truck", "bird"),
    "cifar_animals": ("cat", "deer", "dog", "frog", "horse"),
}
SPARE = 2  # images of each class beyond those for training, which dividing needs for its own test


@dataclass(frozen=True)
class Form:
    """How much is run: training images of each class, and at least so many of all together; test images of all
    classes together; folds; epochs."""

    per_class: int
    in_all: int
    test: int
    folds: int
    epochs: int

    def images(self, classes: int) -> int:
        """Training images of each of so many classes."""
        return max(self.per_class, self.in_all // classes)


LONG, QUICK = Form(20, 200, 400, 4, 10), Form(9, 60, 200, 3, 4)


@dataclass(frozen=True)
class Part:
    """One data set: its name, its training images of each class, and folders of class folders to train and test on."""

    name: str
    per_class: int
    train: Path
    test: Path


def parts(form: Form, scratch: Path) -> Iterator[Part]:
    """The data sets that are there."""
    write_digits(scratch / "all_digits")
    yield parted("digits", scratch / "all_digits", form, scratch)
    if (SHARED / "hymenoptera").is_dir():
        count = form.images(2)
        train = some_of(SHARED / "hymenoptera/train", slice(0, count + SPARE), scratch / "hymenoptera/train")
        test = some_of(SHARED / "hymenoptera/val", slice(0, form.test // 2), scratch / "hymenoptera/test")
        yield Part("hymenoptera", count, train, test)
    if (SHARED / "neu-steel.tar").is_file():
        unpacked = some_of_tar(SHARED / "neu-steel.tar", "neu-steel/", None, form, scratch / "all_steel")
        yield parted("neu_steel", unpacked, form, scratch)
    if (SHARED / "cifar10.tar.xz").is_file():
        for name, classes in HALVES.items():
            archive, target = SHARED / "cifar10.tar.xz", scratch / f"all_{name}"
            yield parted(name, some_of_tar(archive, "train/", classes, form, target), form, scratch)


def parted(name: str, folder: Path, form: Form, scratch: Path) -> Part:
    """The first images of every class to train on, the next ones to test on."""
    classes = len([path for path in folder.iterdir() if path.is_dir()])
    count = form.images(classes)
    train = some_of(folder, slice(0, count + SPARE), scratch / name / "train")
    rest = slice(count + SPARE, count + SPARE + form.test // classes)
    return Part(name, count, train, some_of(folder, rest, scratch / name / "test"))


def some_of(folder: Path, which: slice, target: Path) -> Path:
    """Copy those images of every class folder, by name."""
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
        (target / kind.name).mkdir(parents=True)
        for path in sorted(kind.iterdir())[which]:
            shutil.copy(path, target / kind.name)
    return target


def some_of_tar(archive: Path, inside: str, classes: tuple[str, ...] | None, form: Form, target: Path) -> Path:
    """Unpack as many first images of ``<inside><class>/`` as are needed; ``classes`` None: of all."""
    number = 6 if classes is None else len(classes)
    count = form.images(number) + SPARE + form.test // number
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
        "select": {"folds": form.folds, "finalists": 2},
        "train": {"epochs": form.epochs},
    }
    return parse_params(values, "benchmark")


def study(part: Part, params: Params, scratch: Path) -> dict[str, Any]:
    """All candidates probed and trained on one data set, and what each way of choosing would have lost."""
    data = train_part(str(part.train), params, Places(ROOT, ROOT, scratch / "cache", scratch / "built-in"))
    training = selection_inputs(data, with_policy(params, data), ROOT, ArrayCache(scratch / "cache"))
    probed = [probe_candidate(candidate, training) for candidate in params.zoo.candidates]
    trained = [in_folds(item, training) for item in track(probed, f"folds of {part.name}")]
    # Where the head alone is perfect, graft does not fine-tune.
    always = selection_inputs(data, by_strategy(with_policy(params, data), "finetune"), ROOT, training.store)
    finetuned = [item.finetuned or in_folds(item, always).finetuned for item in trained]
    tested = [test_accuracy(item, training, part.test) for item in track(trained, f"tests of {part.name}")]
    able = [trained[probed.index(item)] for item in finalists(probed, params.select.finalists)]
    exhaustive = max(trained, key=lambda item: item.mean)
    picks = {"graft": choose_winner(able), **by_one_score(trained)}

    def lost(figures: list[float]) -> dict[str, float]:
        best = figures[trained.index(exhaustive)]
        return {key: round(100 * (best - figures[trained.index(item)]), 2) for key, item in picks.items()}

    def of_each(figures: list[float]) -> dict[str, float]:
        return {_label(item): round(found, 4) for item, found in zip(trained, figures, strict=True)}

    probes = [item.probe.mean for item in trained]
    errors = [standard_error(item.probe.fold_scores) for item in trained]
    tuned = [float(np.mean(scores)) for scores in finetuned]
    return {
        "data": part.name,
        "images": len(data.labels),
        "test": of_each(tested),
        "delivered": of_each([item.mean for item in trained]),
        "strategy": {_label(item): item.delivers.strategy for item in trained if item.delivers is not None},
        "se_of_best": round(standard_error(exhaustive.scores), 4),
        "probe": of_each(probes),
        "probe_se": of_each(errors),
        "finetuned": of_each(tuned),
        "not_below_probe": sum(
            score >= probe - error for score, probe, error in zip(tuned, probes, errors, strict=True)
        ),
        "exhaustive": _label(exhaustive),
        "choice": _label(picks["graft"]),
        "regret_points": lost(tested),
        "regret_in_folds_points": lost([item.mean for item in trained]),
        "spearman_of_probe": correlations(probes, [item.mean for item in trained])[0],
    }


def with_policy(params: Params, data: TrainSet) -> Params:
    """The settings with the augmentation that the stage `augment` would find for these images."""
    some = data.images.paths[:: -(-len(data.images.paths) // SAMPLE)]
    looks = [VisualTraits.of(decode(data.images.root / path, least_side=ENOUGH)) for path in some]
    policy = detect_domain(data.classes, looks, AUTO).policy
    return dataclasses.replace(params, augment=dataclasses.replace(params.augment, policy=(policy,)))


def by_strategy(params: Params, strategy: str) -> Params:
    """The settings with another strategy."""
    return dataclasses.replace(params, train=dataclasses.replace(params.train, strategy=strategy))


def in_folds(result: CandidateResult, training: SelectionInputs) -> CandidateResult:
    """The candidate as if it were a finalist."""
    data = training.data
    outputs = train_in_folds(result, np.unique(data.folds).tolist(), training)
    return with_scores(result, [outputs], training)


def test_accuracy(result: CandidateResult, training: SelectionInputs, folder: Path) -> float:
    """Of the candidate, trained on all training images by the strategy that was the better in the folds."""
    assert result.delivers is not None, "it was trained in the folds"
    data, strategy, files = training.data, result.delivers.strategy, sorted(folder.glob("*/*"))
    seen = {path: data.images.root / path for path in data.images.paths}
    unseen = {str(file.absolute()): file for file in files}
    both = ImageSet(ListedFiles({**seen, **unseen}), (*seen, *unseen), (*data.images.digests, *map(sha256, files)))
    labels = np.array([*data.labels, *(data.classes.index(file.parent.name) for file in files)], np.int64)
    held = np.arange(len(labels)) >= len(data.labels)
    every = dataclasses.replace(training, data=TrainSet(both, labels, np.zeros_like(labels), data.classes))
    candidate = dataclasses.replace(result.candidate, fit=result.preprocessing.geometry.fit)
    trainer = trainer_for(candidate, result.probe.depth, every)
    said = trainer.logits(trainer.fit(strategy, ~held), strategy, held).argmax(1)
    return float((said == labels[held]).mean())


def by_one_score(trained: list[CandidateResult]) -> dict[str, CandidateResult]:
    """The first by each score alone."""
    static = first_by_imagenet(trained)
    assert static is not None, "the bundled weights have a published accuracy"
    return {
        "static": static,
        "probe": max(trained, key=lambda item: item.probe.mean),
        "knn": max(trained, key=lambda item: item.knn or 0.0),
        "logme": max(trained, key=lambda item: item.logme or -np.inf),
    }


def means(found: list[dict[str, Any]], key: str) -> dict[str, float]:
    """Of each way of choosing, over the data sets."""
    return {way: round(float(np.mean([item[key][way] for item in found])), 2) for way in found[0][key]}


def _label(item: CandidateResult) -> str:
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
        found = [study(part, settings(form, part.per_class), scratch) for part in parts(form, scratch)]
    mean, in_folds = (means(found, key) for key in ("regret_points", "regret_in_folds_points"))
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
        "mean_regret_in_folds_points": in_folds,
        "not_more_than_static": mean["graft"] <= mean["static"],
        "finetuned_not_below_probe": sum(item["not_below_probe"] for item in found),
        "of": sum(len(item["probe"]) for item in found),
    }
    print(json.dumps({**head, **shape, **figures, "by_data": found}))


if __name__ == "__main__":
    main()
