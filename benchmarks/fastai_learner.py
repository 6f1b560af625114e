"""fastai's side of against_fastai.py, which starts it: by the Python of an environment that has fastai and no graft.

`PYTHON benchmarks/fastai_learner.py FOLDER --weights FILE --size 128 [--epochs 5 | --seconds 60]`. The folder holds
`train` and `test` (or `val`), each with a folder of images per class; linear_probe.py writes the file. Trained is
EfficientNet-Lite0 with the same ImageNet weights by `fine_tune` with fastai's own defaults, on all training images.
`--seconds` chooses as many epochs as fit, by a trial that is not timed. The clock runs from the first file read to the
trained learner, without imports; the tested images are looked at afterwards only, which spares fastai its look after
each epoch. Ends with one JSON line.
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import argparse  # noqa: E402
import contextlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402

library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):  # torchvision refuses to be imported by another build of torch than its own without them
    with contextlib.suppress(RuntimeError):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from fastai.vision.all import (  # noqa: E402
    Callback,
    CancelValidException,
    ImageDataLoaders,
    Learner,
    Normalize,
    RandomResizedCrop,
    Resize,
    accuracy,
    aug_transforms,
    set_seed,
    vision_learner,
)
from safetensors.torch import load_file  # noqa: E402

IMPORTED = time.perf_counter()
ARCH = "tf_efficientnet_lite0"
# What fastai's documentation and book train photographs with; the first is the book's first model of one's own images.
RECIPES = {
    "random_crop": lambda size: (RandomResizedCrop(size, min_scale=0.5), aug_transforms()),
    "presizing": lambda size: (Resize(460), aug_transforms(size=size, min_scale=0.75)),
    "resize": lambda size: (Resize(size), aug_transforms()),
}
TOLERANCE = 1e-4  # between fastai's features and graft's


class NoValidation(Callback):
    """Leaves out the look at the tested images after each epoch, which decides nothing in `fine_tune`."""

    def before_validate(self) -> None:
        """End validation before it begins."""
        raise CancelValidException


def build(given: argparse.Namespace, scratch: str) -> Learner:
    """A learner on the images, with the weights of the file."""
    set_seed(given.seed, reproducible=True)
    item, batch = RECIPES[given.recipe](given.size)
    tested = "test" if (given.folder / "test").is_dir() else "val"
    loaders = ImageDataLoaders.from_folder(
        given.folder,
        train="train",
        valid=tested,
        item_tfms=item,
        batch_tfms=[*batch, Normalize.from_stats([0.5] * 3, [0.5] * 3)],
        bs=given.batch,
        num_workers=given.workers,
        seed=given.seed,
    )
    # Of what `pretrained=True` does beyond fetching weights, `fine_tune` freezes, and the normalisation stands above.
    learner = vision_learner(loaders, ARCH, pretrained=False, normalize=False, metrics=accuracy, path=scratch)
    network = learner.model[0].model
    kept = {name.removeprefix("weights/"): value for name, value in load_file(given.weights).items()}
    own = network.state_dict()
    network.load_state_dict({name: kept[name] for name in own})
    return learner


def farthest(learner: Learner, weights: Path) -> float:
    """The largest difference between the learner's features and graft's, on graft's own pixels."""
    file = load_file(weights)
    network = learner.model[0].eval()
    with torch.no_grad():
        ours = network(file["pixels"]).mean((2, 3))
    learner.model[0].train()
    return float((ours - file["features"]).abs().max())


def train(learner: Learner, epochs: int, rate: str) -> float:
    """fastai's `fine_tune`, at its own rate or (``find``) the one that its finder suggests; returns the rate."""
    with learner.no_bar(), learner.no_logging():
        if rate == "find":
            learner.freeze()
            found = float(learner.lr_find(show_plot=False).valley)
        else:
            found = float(rate)
        learner.fine_tune(epochs, base_lr=found, cbs=[NoValidation()])
    return found


def epochs_within(seconds: float, given: argparse.Namespace, scratch: str) -> int:
    """How many epochs of everything, after the one of the head, take about so long; at least one."""
    began = time.perf_counter()
    learner = build(given, scratch)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(1, cbs=[NoValidation()])
        before = time.perf_counter()
        learner.fit_one_cycle(1, slice(1e-5, 1e-3), cbs=[NoValidation()])
    one = time.perf_counter() - before
    return max(1, round((seconds - (before - began)) / one) + 1)


def processor_seconds() -> float:
    """Of this process and the loader's workers that have ended."""
    return sum(os.times()[:4])


def figures_of(learner: Learner) -> dict[str, Any]:
    """Accuracy on the tested images, with and without fastai's augmented predictions, and which are right."""
    with learner.no_bar(), learner.no_logging():
        probabilities, truth = learner.get_preds()
        augmented, _ = learner.tta()
    said = {"": probabilities, "_tta": augmented}
    right = {kind: (scores.argmax(1) == truth).tolist() for kind, scores in said.items()}
    files = [str(file) for file in learner.dls.valid_ds.items]
    return {
        "n_train": len(learner.dls.train_ds),
        "n_test": len(files),
        **{f"accuracy{kind}": round(sum(found) / len(files), 4) for kind, found in right.items()},
        **{f"right{kind}": dict(zip(files, found, strict=True)) for kind, found in right.items()},
    }


def main() -> None:
    """Train, test and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seconds", type=float, help="in place of --epochs: as many as take about so long")
    parser.add_argument("--recipe", choices=list(RECIPES), default="random_crop")
    parser.add_argument("--rate", default="0.002", help="fine_tune's base rate, or find: what lr_find suggests")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        difference = farthest(build(given, scratch), given.weights)
        assert difference < TOLERANCE, f"the weights did not arrive: features differ by {difference}"
        epochs = given.epochs if given.seconds is None else epochs_within(given.seconds, given, scratch)
        began, used = time.perf_counter(), processor_seconds()
        learner = build(given, scratch)
        rate = train(learner, epochs, given.rate)
        seconds, cpu = time.perf_counter() - began, processor_seconds() - used
        figures = figures_of(learner)
    trained = {"epochs": epochs, "rate": rate, "recipe": given.recipe, "batch": given.batch}
    took = {"seconds": round(seconds, 1), "cpu_s": round(cpu, 1), "imports_s": round(IMPORTED - STARTED, 1)}
    print(json.dumps({**trained, **took, "features_differ_by": difference, **figures}))


if __name__ == "__main__":
    main()
