"""What can be set: params.yaml as frozen dataclasses, every key typed, ranged and explained.

This file is the whole list. A field's description says its meaning and unit. To add a setting, add a field here and a
line in params.yaml; the test of the shipped file and dvc.yaml's ``params`` lists notice what is missing.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", strict=True)

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Severity = Literal["critical", "warning", "quarantine"]
SeverityChoice = Literal["critical", "warning", "quarantine", "ignore"]
FitChoice = Literal["auto", "crop", "pad", "squash"]
DepthScaling = Literal["fixed", "file", "dataset"]
Rule = Literal["accurate", "cheap"]
Format = Literal["JPEG", "PNG", "WEBP", "HEIF", "BMP", "GIF", "TIFF"]


# How the name of a weights file ends; what does not end so is the name of published weights, or of a kind of them.
WEIGHTS_FILES = (".safetensors", ".pth", ".pt", ".bin")


def _candidate(value: Any) -> Any:
    """A bare architecture name is short for a candidate with defaults."""
    return {"arch": value} if isinstance(value, str) else value


def _one_group(pattern: str) -> str:
    """A regular expression with one group."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"it has {groups} groups, and one is to be the label")
    return pattern


def _candidates(value: Any) -> Any:
    """``auto`` stands for candidates that are found later."""
    if value == []:
        raise ValueError("name one at least, or write auto")
    if value == "auto":
        return ()
    return tuple(value) if isinstance(value, list) else value


def _as_list(value: Any) -> Any:
    """One policy is short for a list of one."""
    if isinstance(value, str | dict):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _named_policy(value: Any) -> Any:
    """``light`` and ``{randaugment: {magnitude: 9}}``, as people write them."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) == 1:
        (name, options), *_ = value.items()
        if options is None or isinstance(options, dict):
            return {"name": name, "options": options or {}}
    if isinstance(value, NamedPolicy):
        return value
    raise ValueError("a policy is a name, or one name with its options, such as {randaugment: {magnitude: 9}}")


# What the built-in data is trained with where params.yaml does not say otherwise: no other data inherits it.
BUILT_IN: dict[str, dict[str, Any]] = {
    "digits": {
        "data": {"train_per_class": 20},
        "train": {"label_counts": [2, 5]},
        "package": {"gate": {"min_accuracy": 0.8}},
    }
}


@dataclass(frozen=True, config=_STRICT)
class Data:
    """Where the images come from and how they are divided."""

    source: Annotated[
        str,
        Field(
            min_length=1,
            description="digits, a folder of class folders or tar files, a .csv or .parquet table, or "
            "torchvision:<Dataset>",
        ),
    ] = "digits"
    modality: Annotated[str, Field(min_length=1, description="what a sample is: image, or auto, which is image")] = (
        "auto"
    )
    task: Annotated[
        Literal["auto", "classification"],
        Field(description="what is said of a sample; auto: by the kind of target, so far classification"),
    ] = "auto"
    label_from: (
        Annotated[
            str,
            AfterValidator(_one_group),
            Field(
                description="regular expression whose one group is the label in a file's path (relative to the source, "
                "with /); for folders and tar files; null: the class folder's name"
            ),
        ]
        | None
    ) = None
    follow_links: Annotated[bool, Field(description="read links that lead out of the folder, each folder once")] = False
    pack: Annotated[
        int, Field(ge=0, le=9999, description="tar files that data/raw is packed into; 0: a file for each image")
    ] = 0
    split: Annotated[
        Literal["stratified", "hash"],
        Field(
            description="how undivided data is divided: stratified (each class has its share in the test, earlier "
            "divisions are remembered) or hash (each image by its own hash, nothing is remembered)"
        ),
    ] = "stratified"
    test_fraction: Annotated[Fraction, Field(description="share of images kept for the test")] = 0.2
    train_per_class: Annotated[
        Positive | None,
        Field(description="labelled images per class to train on, the rest is tested; null: all; for undivided data"),
    ] = None


@dataclass(frozen=True, config=_STRICT)
class Validation:
    """Thresholds of the expectations over the manifest."""

    min_images_per_class: Annotated[Positive, Field(description="images a class must have")] = 5
    max_imbalance: Annotated[float, Field(ge=1, description="largest class over smallest, a ratio")] = 20.0
    min_side: Annotated[Positive, Field(description="shorter side of an image, in pixels")] = 8
    brightness: Annotated[tuple[float, float], Field(description="allowed mean luminance, 0 to 1")] = (
        0.02,
        0.98,
    )
    min_contrast: Annotated[
        float, Field(ge=0, le=0.5, description="least standard deviation of luminance, 0 to 0.5")
    ] = 0.005
    min_sharpness: Annotated[
        float, Field(ge=0, description="least standard deviation of the Laplacian, grey levels of 255")
    ] = 2.0
    min_entropy: Annotated[
        float, Field(ge=0, le=8, description="least Shannon entropy of the grey levels, in bits, 0 to 8")
    ] = 0.1
    allowed_modes: Annotated[
        Annotated[tuple[str, ...], Field(min_length=1)] | None,
        Field(description="Pillow's modes that files may have, such as RGB, L, RGBA, I;16; null: any"),
    ] = None
    allowed_formats: Annotated[
        Annotated[tuple[Format, ...], Field(min_length=1)] | None,
        Field(description="formats that files may have, such as JPEG, PNG; null: any that graft reads"),
    ] = None
    near_duplicate_distance: Annotated[
        int,
        Field(
            ge=0,
            le=63,
            description="largest Hamming distance of two 256-bit perceptual hashes that counts as one image",
        ),
    ] = 45
    max_cut_away: Annotated[
        float, Field(ge=0, le=1, description="largest share of an image that its centre square does not show, 0 to 1")
    ] = 0.45
    min_range_used: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="least share of the 256 grey levels that an image of more than 8 bits uses, 0 to 1, as "
            "image.depth_scaling scales it",
        ),
    ] = 0.1
    max_drift: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="largest distance of a feature's distribution from that of the last validated data: the share "
            "of images by which they differ, 0 to 1",
        ),
    ] = 0.2
    severity: Annotated[
        dict[str, SeverityChoice],
        Field(
            description="for a check of the data what its failure does: critical stops, warning "
            "reports, quarantine leaves the files out and lists them, ignore does not look; one left out has its own"
        ),
    ] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class Image:
    """How image files are read."""

    depth_scaling: Annotated[
        DepthScaling,
        Field(
            description="which numbers of images of more than 8 bits become black and white: those of the whole type "
            "(fixed), the least and largest of each image (file), or of all training images (dataset)"
        ),
    ] = "dataset"


@dataclass(frozen=True, config=_STRICT)
class Preprocess:
    """How images become network inputs."""

    fit: Annotated[
        FitChoice,
        Field(
            description="how an image becomes a square: its centre is cut out (crop), it is filled up (pad), or "
            "stretched (squash); auto: crop, or where a quarter of the images would lose nearly half of their pixels "
            "what cross-validation finds best for each candidate"
        ),
    ] = "auto"


@dataclass(frozen=True, config=_STRICT)
class NamedPolicy:
    """An augmentation policy by name, and those of its options that are set."""

    name: Annotated[str, Field(min_length=1, description="a name from graft.augmentation.policies")]
    options: Annotated[dict[str, Any], Field(description="numbers by name")] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class Augment:
    """What varies the training images, and what may: the domain only refuses, it never changes what is done."""

    policy: Annotated[
        tuple[Annotated[NamedPolicy, BeforeValidator(_named_policy)], ...],
        BeforeValidator(_as_list),
        Field(
            min_length=1,
            description="a name from graft.augmentation.policies, or a list of names and of {name: {option: number}}; "
            "auto: "
            "what suits the domain",
        ),
    ] = (NamedPolicy("auto"),)
    domain: Annotated[
        str,
        Field(
            description="what the images are, a name from graft.augmentation.domains; refuses what changes labels; "
            "auto: by "
            "a sample of the training images"
        ),
    ] = "auto"
    preview_images: Annotated[Positive, Field(description="rows of the preview sheet")] = 6


@dataclass(frozen=True, config=_STRICT)
class Candidate:
    """One (architecture, weights, depth, size) that selection may choose."""

    arch: Annotated[str, Field(min_length=1, description="a torchvision builder's name, or timm:<name>")]
    weights: Annotated[
        str,
        Field(
            min_length=1,
            description="bundled, source, pretrained, none, a torchvision weights name, or a path",
        ),
    ] = "DEFAULT"
    depth: Annotated[
        Literal["auto", "last"] | Count, Field(description="where the network is cut: a block's index counted from 0")
    ] = "last"
    size: Annotated[
        Annotated[int, Field(ge=8, le=2048)] | None,
        Field(description="side of the input in pixels; null: the weights' own"),
    ] = None
    fit: Annotated[
        FitChoice | None, Field(description="how an image becomes a square; null: as preprocess.fit says")
    ] = None

    @property
    def weights_file(self) -> Path | None:
        """The user's own file, where ``weights`` names one."""
        return Path(self.weights).expanduser() if self.weights.endswith(WEIGHTS_FILES) else None


@dataclass(frozen=True, config=_STRICT)
class Zoo:
    """What may be chosen."""

    candidates: Annotated[
        tuple[Annotated[Candidate, BeforeValidator(_candidate)], ...],
        BeforeValidator(_candidates),
        Field(
            description="candidates in any order; auto (none here): what suits the images, by "
            "graft.models.zoo.default_candidates"
        ),
    ] = ()
    offline: Annotated[bool, Field(description="never download; GRAFT_OFFLINE=1 does the same")] = False


@dataclass(frozen=True, config=_STRICT)
class Pretrain:
    """The source task, on which candidates with ``weights: source`` are trained first."""

    source: Annotated[
        str,
        Field(min_length=1, description="glyphs (rendered with matplotlib's fonts), or whatever data.source may name"),
    ] = "glyphs"
    held_out: Annotated[
        Fraction,
        Field(description="share of an undivided source's images kept to score its models by; glyphs are drawn anew"),
    ] = 0.1
    images_per_class: Annotated[
        Positive, Field(description="glyphs rendered for each of the 62 classes; of other sources all images are used")
    ] = 100
    policy: Annotated[
        tuple[Annotated[NamedPolicy, BeforeValidator(_named_policy)], ...],
        BeforeValidator(_as_list),
        Field(min_length=1, description="what varies the source images, written as augment.policy is"),
    ] = (NamedPolicy("none"),)
    epochs: Annotated[Positive, Field(description="passes over the source images")] = 3
    batch_size: Annotated[Positive, Field(description="images per step")] = 256
    learning_rate: Annotated[Rate, Field(description="peak of the one-cycle schedule")] = 0.004
    weight_decay: Annotated[float, Field(ge=0, description="AdamW's, on weights only")] = 0.01


@dataclass(frozen=True, config=_STRICT)
class Select:
    """How the candidates are compared."""

    folds: Annotated[int, Field(ge=2, le=20, description="folds of the cross-validation")] = 5
    rule: Annotated[
        Rule,
        Field(
            description="accurate: the best cross-validated mean of `metric` wins; cheap: the cheapest to serve of "
            "those whose paired difference to it may be chance"
        ),
    ] = "accurate"
    probe: Annotated[
        Literal["ridge", "logistic"], Field(description="linear head that scores frozen features; ridge is the quicker")
    ] = "ridge"
    finalists: Annotated[Positive, Field(description="best candidates by probe that are fine-tuned in every fold")] = 2
    max_latency_ms: Annotated[Rate, Field(description="most milliseconds for one image; null: no limit")] | None = None
    max_params_m: Annotated[Rate, Field(description="most parameters, in millions; null: no limit")] | None = None
    max_memory_mb: (
        Annotated[Rate, Field(description="most megabytes that a forward pass of one image takes; null: no limit")]
        | None
    ) = None


@dataclass(frozen=True, config=_STRICT)
class Train:
    """How networks are fine-tuned: finalists in every fold, the winner at last."""

    strategy: Annotated[
        str,
        Field(
            min_length=1,
            description="extract (the head alone), finetune, wise_ft (the mean of both networks' weights) or scratch; "
            "auto: which of the first three was best in the folds, see reports/training/strategy.json",
        ),
    ] = "auto"
    epochs: Annotated[
        Count, Field(description="epochs in which blocks are trained; the schedule ends with the last; 0: head only")
    ] = 10
    unfreeze: Annotated[
        float, Field(gt=0, le=1, description="share of the blocks that is trained, counted from the last; 1: all")
    ] = 0.6
    learning_rate: Annotated[Rate, Field(description="peak rate of the head")] = 0.001
    backbone_lr_ratio: Annotated[Rate, Field(description="rate of the last block as a share of the head's")] = 0.75
    layer_decay: Annotated[
        float, Field(gt=0, le=1, description="a block's rate as a share of that of the block after it; 1: all alike")
    ] = 0.75
    batch_size: Annotated[Positive, Field(description="images per step")] = 32
    weight_decay: Annotated[float, Field(ge=0, description="AdamW's; none on norms and biases")] = 0.05
    label_smoothing: Annotated[float, Field(ge=0, lt=1, description="share of the target spread over all classes")] = (
        0.1
    )
    dropout: Annotated[
        float, Field(ge=0, lt=1, description="share of the features that the head does not see in a step; 0: none")
    ] = 0.0
    grad_clip_norm: Annotated[
        Rate | None, Field(description="largest norm of all gradients together; longer ones are shortened; null: any")
    ] = None
    ema_decay: Annotated[
        float,
        Field(ge=0, lt=1, description="share of the averaged weights that a step leaves (EMA), such as 0.99; 0: none"),
    ] = 0.0
    imbalance: Annotated[
        Literal["none", "loss", "sampling"],
        Field(description="what evens out classes of unlike size: their weight in the loss, or how often they come"),
    ] = "none"
    control: Annotated[bool, Field(description="train the same network from scratch, to test that transfer helps")] = (
        True
    )
    control_steps: Annotated[
        Positive,
        Field(
            description="least steps of the control, also on few labels; never fewer epochs than the fine-tuning has. "
            "Short tries of its rate cost half as much again"
        ),
    ] = 300
    control_seeds: Annotated[
        Count,
        Field(
            description="seeds for which winner and control are also trained in every fold, so that the verdict covers "
            "the choice of training images and of the seed; 0: they are compared on the test images only"
        ),
    ] = 0
    label_counts: Annotated[
        tuple[Positive, ...],
        Field(description="labels per class at which transfer and scratch are also compared"),
    ] = ()


@dataclass(frozen=True, config=_STRICT)
class Tune:
    """The search over hyper-parameters of the fine-tuning: cross-validated on the training images."""

    trials: Annotated[Count, Field(description="settings to try, those at hand being the first; 0: no search")] = 0
    minutes: Annotated[Rate | None, Field(description="no new trial is begun after so many minutes; null: any")] = None
    pruner: Annotated[Literal["none", "median"], Field(description="who cuts a trial short after its first folds")] = (
        "median"
    )
    search: Annotated[
        tuple[str, ...],
        Field(
            min_length=1,
            description="keys of `train` that are varied, or policy for `augment.policy`: rows of graft.tuning.space",
        ),
    ] = ("learning_rate", "backbone_lr_ratio", "epochs", "weight_decay")


@dataclass(frozen=True, config=_STRICT)
class Trust:
    """How far the model's answers are to be trusted; fitted on held-out training images, kept in its card."""

    answered_accuracy: Annotated[
        float, Field(gt=0, le=1, description="accuracy that answers shall have; the others are `not sure`")
    ] = 0.95
    in_distribution_share: Annotated[
        float, Field(gt=0, lt=1, description="share of images like the training images that is not called unlike them")
    ] = 0.95
    reference_images: Annotated[
        Positive, Field(description="most training images whose features are kept beside the model, to compare with")
    ] = 2000


@dataclass(frozen=True, config=_STRICT)
class Evaluate:
    """How the figures on the test images are computed."""

    bootstrap_samples: Annotated[int, Field(ge=100, description="resamples of the test images per interval")] = 1000
    latency_runs: Annotated[Positive, Field(description="single-image predictions that are timed")] = 30
    measure_memory: Annotated[
        bool, Field(description="load the model in a process of its own, a few seconds, to see what memory it takes")
    ] = True


@dataclass(frozen=True, config=_STRICT)
class Gate:
    """What a model must reach before it is packaged; null switches a condition off."""

    min_accuracy: Annotated[float, Field(ge=0, le=1, description="least test accuracy")] | None = None
    min_balanced_accuracy: (
        Annotated[float, Field(ge=0, le=1, description="least balanced accuracy on the test images")] | None
    ) = None
    min_macro_f1: Annotated[float, Field(ge=0, le=1, description="least macro F1 on the test images")] | None = None
    min_roc_auc: Annotated[float, Field(ge=0, le=1, description="least ROC AUC on the test images")] | None = None
    max_log_loss: Annotated[Rate, Field(description="most log loss on the test images, in nats")] | None = None
    max_latency_ms: Annotated[Rate, Field(description="most milliseconds for one image, median")] | None = None
    max_size_mb: Annotated[Rate, Field(description="most megabytes of model.safetensors")] | None = None
    beat_majority: Annotated[
        bool,
        Field(
            description="refuse a model that is no better than always naming the most frequent class, neither by "
            "accuracy nor by balanced accuracy; false lets a task through on which nothing better is known"
        ),
    ] = True
    max_drop: (
        Annotated[
            float,
            Field(
                ge=0,
                le=1,
                description="how much of `metric` may be lost against the production model; it refuses a model that "
                "the paired test on the same test images shows to lose more; 0: one that is significantly worse",
            ),
        ]
        | None
    ) = 0.0
    refuse_if_transfer_hurts: Annotated[bool, Field(description="refuse when the verdict on transfer is `hurts`")] = (
        False
    )


@dataclass(frozen=True, config=_STRICT)
class Package:
    """What the packaged model is called and what it must reach."""

    name: Annotated[
        str,
        Field(
            pattern=r"^[a-z]([a-z0-9_-]*[a-z0-9])?$",
            description="name in the BentoML model store, among DVC's artifacts and in git tags",
        ),
    ] = "graft"
    take: Annotated[
        Literal["better", "transferred"],
        Field(
            description="what is packaged where the control from scratch is shown to be better over the folds of the "
            "training images (train.control_seeds): better (the control), or the transferred model all the same"
        ),
    ] = "better"
    gate: Gate = dataclasses.field(default_factory=Gate)


@dataclass(frozen=True, config=_STRICT)
class Compute:
    """What the work runs on."""

    device: Annotated[
        str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$", description="auto takes a GPU if there is one")
    ] = "auto"
    devices: Annotated[
        Positive, Field(description="how many devices train together, a process each; several CPUs share the cores")
    ] = 1
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        Field(description="what is calculated in while training; auto: the quickest here, by a short trial, kept"),
    ] = "auto"
    threads: Annotated[Positive | None, Field(description="CPU threads; null: all cores")] = None
    mapper: Annotated[
        Literal["serial", "processes", "dask", "ray"],
        Field(description="what does candidates, folds and trials: one after the other, or several at once"),
    ] = "serial"
    workers: Annotated[
        Positive | None,
        Field(description="how many the mapper does at once; null: cores / threads (one thread each), or a GPU each"),
    ] = None
    address: Annotated[
        Annotated[str, Field(min_length=1)] | None,
        Field(
            description="of a Dask scheduler (tcp://host:8786) or a Ray cluster (host:6379); null: one on this machine"
        ),
    ] = None
    cache_gb: Annotated[
        Rate, Field(description="GB (1e9 bytes) that .graft/cache may hold; what was used longest ago goes first")
    ] = 20.0


@dataclass(frozen=True, config=_STRICT)
class Params:
    """The whole of params.yaml."""

    zoo: Zoo = dataclasses.field(default_factory=Zoo)
    metric: Annotated[
        Literal["accuracy", "balanced_accuracy", "macro_f1", "log_loss", "roc_auc"],
        Field(
            description="what candidates and settings are chosen by, cross-validated, and a new model is held against "
            "the one in use by"
        ),
    ] = "accuracy"
    seed: Annotated[int, Field(ge=0, lt=2**31, description="the only source of randomness")] = 0
    data: Data = dataclasses.field(default_factory=Data)
    validation: Validation = dataclasses.field(default_factory=Validation)
    image: Image = dataclasses.field(default_factory=Image)
    preprocess: Preprocess = dataclasses.field(default_factory=Preprocess)
    augment: Augment = dataclasses.field(default_factory=Augment)
    pretrain: Pretrain = dataclasses.field(default_factory=Pretrain)
    select: Select = dataclasses.field(default_factory=Select)
    train: Train = dataclasses.field(default_factory=Train)
    tune: Tune = dataclasses.field(default_factory=Tune)
    trust: Trust = dataclasses.field(default_factory=Trust)
    evaluate: Evaluate = dataclasses.field(default_factory=Evaluate)
    package: Package = dataclasses.field(default_factory=Package)
    compute: Compute = dataclasses.field(default_factory=Compute)
