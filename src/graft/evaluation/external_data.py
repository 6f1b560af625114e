"""Any labelled source as test images: which side is measured, classes matched by name, copies joined."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.errors import DataError, WeightsError, nearest
from graft.core.files import sha256
from graft.core.packed_files import read_bytes
from graft.data.near_duplicates import chain_equal, join
from graft.data.sources.listing import Sample, Skipped, SourceSpec
from graft.data.sources.registry import list_source
from graft.evaluation.held_out import HeldOutSet, listed
from graft.evaluation.inference import answers_of
from graft.tasks.registry import find_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.core.workspace import Workspace
    from graft.inference.artifact import Artifact
    from graft.inference.predictor import Predictions, Predictor

_MOST_NAMES = 20


@dataclass(frozen=True)
class ExternalData:
    """What is measured on.

    Attributes:
        source: as the user named it.
        divided: the source says which images are for the test, and only these are taken.
        samples: the images to measure on.
        unused: how many images were left alone because the source says that they are for training.
        skipped: what was passed over, and why.
    """

    source: str
    divided: bool
    samples: tuple[Sample, ...]
    unused: int
    skipped: tuple[Skipped, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that the images have, sorted."""
        return tuple(sorted({sample.label for sample in self.samples}))


@dataclass(frozen=True)
class ExternalPredictions:
    """What models said about the images that could be decoded.

    Attributes:
        held_out: those images; ``n_train`` is zero throughout, as nothing is known of the training.
        said: by model, of n images.
        unreadable: the images that could not be decoded, and why.
        sha256: of each image's file, n of them.
    """

    held_out: HeldOutSet
    said: Mapping[str, Predictions]
    unreadable: tuple[Skipped, ...]
    sha256: tuple[str, ...]


def data_facts(labelled: ExternalData, answers: ExternalPredictions, seen: int | None) -> dict[str, Any]:
    """What was measured on, what was left alone or could not be read, as JSON."""
    return {
        "source": labelled.source,
        "side": "test" if labelled.divided else "all",
        "images": len(labelled.samples),
        "left_for_training": labelled.unused,
        "seen_in_training": seen,
        "unreadable": [asdict(item) for item in answers.unreadable],
        "passed_over": [asdict(item) for item in labelled.skipped],
    }


def read_external_data(source: str, root: Path, scratch: Path) -> ExternalData:
    """List the images of ``source`` that a model is measured on: the test images where it is divided, else all.

    Where a divided source has no test but a validation side, that is the test (as in the pipeline).

    Args:
        source: whatever ``data.source`` could be.
        root: where a relative path starts.
        scratch: a folder for built-in data, which must outlive the use of the images.

    Raises:
        DataError: there is no such source, it holds no labelled image, or all its images are for training.
    """
    found = list_source(SourceSpec(source, root, scratch))
    test = tuple(sample for sample in found.samples if sample.split == "test")
    if not test and any(sample.split == "train" for sample in found.samples):
        raise DataError(
            f"the test side is empty: all {len(found.samples)} images are for training",
            where=source,
            remedy="name data with test images, or leave out the division to measure on all of them",
        )
    samples = test or found.samples
    return ExternalData(source, bool(test), samples, len(found.samples) - len(samples), found.skipped)


def answers_on(source: str, models: Mapping[str, Predictor], whose: str) -> tuple[ExternalData, ExternalPredictions]:
    """Read ``source`` and run every model over it, in the order of the first model's classes.

    Args:
        source: whatever ``data.source`` could be.
        models: by name; all know the same classes.
        whose: the first model, for the message where the data has classes that it does not know.

    Raises:
        WeightsError: the data has classes that the models do not know.
        DataError: the data cannot be read, or no image of it can be decoded.
    """
    first = next(iter(models.values()))
    with tempfile.TemporaryDirectory() as scratch:
        labelled = read_external_data(source, Path.cwd(), Path(scratch))
        refuse_unknown(labelled.labels, first.artifact, whose)
        return labelled, ask(labelled, models, first.classes)


def refuse_unknown(labels: Sequence[str], model: Artifact, whose: str) -> None:
    """Raise WeightsError, naming them and what the model knows, where ``labels`` holds classes it does not know."""
    known = set(model.classes)
    unknown = [label for label in find_task(model.task).classes(labels) if label not in known]
    if not unknown:
        return
    close = {label: nearest(label, model.classes, 1) for label in unknown[:_MOST_NAMES]}
    alike = [f"{label!r} is perhaps {names[0]!r}" for label, names in close.items() if names]
    advice = f" ({'; '.join(alike)})" if alike else ""
    raise WeightsError(
        f"{whose} does not know {listed(unknown, _MOST_NAMES)}; it knows {listed(model.classes, _MOST_NAMES)}",
        remedy=f"rename these classes in the data{advice}, take their images out, or name a model that knows them",
    )


def ask(labelled: ExternalData, models: Mapping[str, Predictor], classes: Sequence[str]) -> ExternalPredictions:
    """Run every model over the images, each decoded once.

    Images of one group, and copies (files of the same bytes), are one unit of the bootstrap.

    Args:
        labelled: the images; their labels are among ``classes``.
        models: by name; each knows exactly ``classes``.
        classes: the order of the columns.

    Raises:
        DataError: no image can be decoded, or the same file has two labels.
    """
    damaged: dict[int, DataError] = {}
    files = [sample.file for sample in labelled.samples]
    said = answers_of(models, files, classes, damaged.__setitem__)
    if len(damaged) == len(files):
        first = damaged[0]
        raise DataError(
            f"none of the {len(files)} images can be decoded; of the first: {first.what}",
            where=first.where,
            remedy="run `graft doctor` on this data: it names what is wrong with each file",
        )
    kept = [place for place in range(len(files)) if place not in damaged]
    samples = [labelled.samples[place] for place in kept]
    hashes = [hashlib.sha256(read_bytes(sample.file)).hexdigest() for sample in samples]
    _refuse_two_labels(samples, hashes)
    task = find_task(next(iter(models.values())).artifact.task)
    held_out = HeldOutSet(
        classes=tuple(classes),
        paths=tuple(sample.source for sample in samples),
        labels=task.encode((sample.label for sample in samples), classes),
        units=_units(samples, hashes),
        n_train=np.zeros(len(classes), dtype=np.intp),
        task=task,
    )
    unreadable = tuple(Skipped(labelled.samples[place].source, error.what) for place, error in damaged.items())
    taken = {name: answers.take(kept) for name, answers in said.items()}
    return ExternalPredictions(held_out, taken, unreadable, tuple(hashes))


def refuse_unreadable(asked: ExternalPredictions) -> None:
    """Raise DataError where images could not be decoded: called last, when the figures of the others are told.

    What was asked for was then not wholly done, and a command that goes on from there must know; so with
    `graft predict`.
    """
    if not asked.unreadable:
        return
    damaged, read = len(asked.unreadable), len(asked.held_out.labels)
    raise DataError(
        f"{damaged} of {damaged + read} images cannot be decoded; the figures are of the other {read}",
        where=asked.unreadable[0].path,
        remedy="take these files out, or run `graft doctor` on this data: it names what is wrong with each",
    )


def seen_in_training(asked: ExternalPredictions, model: Artifact, workspace: Workspace) -> int | None:
    """How many of the images the model was trained on; None where ``workspace`` is not the one that trained it.

    model.json holds the hash of the table of splits. Where that table lies in the workspace, the manifest beside
    it tells the hashes of the training images.
    """
    import pandas as pd

    if not (workspace.splits.exists() and workspace.manifest.exists()):
        return None
    if model.provenance.get("splits_sha256") != sha256(workspace.splits):
        return None
    splits = pd.read_parquet(workspace.splits, columns=["path", "split"])
    manifest = pd.read_parquet(workspace.manifest, columns=["path", "sha256"])
    trained = set(manifest.loc[manifest["path"].isin(splits.loc[splits["split"] == "train", "path"]), "sha256"])
    return sum(value in trained for value in asked.sha256)


def _refuse_two_labels(samples: Sequence[Sample], hashes: Sequence[str]) -> None:
    first: dict[str, Sample] = {}
    for sample, value in zip(samples, hashes, strict=True):
        other = first.setdefault(value, sample)
        if other.label != sample.label:
            raise DataError(
                f"the same image has two labels: {other.source} ({other.label}) and {sample.source} ({sample.label})",
                remedy="decide for one label and take the other copy out; `graft doctor` lists all such images",
            )


def _units(samples: Sequence[Sample], hashes: Sequence[str]) -> NDArray[np.intp]:
    """0..u-1: equal for images of one group and for copies, joined transitively."""
    import pandas as pd

    groups = pd.Series([sample.group for sample in samples], dtype=object)
    joined = join(len(samples), [chain_equal(groups), chain_equal(pd.Series(hashes))])
    return np.unique(joined, return_inverse=True)[1].astype(np.intp)
