"""Checks of any modality: labels, classes, duplicates, drift. A modality's own checks stand between the two tables.

To add a check, add a row, and the fault that breaks it in tests/data/validation/faults.py.
"""

from __future__ import annotations

from graft.modalities.base import Modality
from graft.modalities.check_spec import BETWEEN, IN_SET, CheckSpec

LARGE_CLUSTER = 20

_COPIES = ("cluster_size", "duplicates")

_FIRST = (
    CheckSpec(
        "decodable",
        "images",
        "critical",
        "ExpectColumnValuesToBeNull",
        "problems",
        lambda limits: {},
        lambda limits: "every file is an image that can be decoded",
        "mend or remove the files, or set validation.severity.decodable to quarantine to leave them out",
        explains=("images_per_class", "balance"),
    ),
    CheckSpec(
        "labelled",
        "images",
        "critical",
        "ExpectColumnValuesToMatchRegex",
        "label",
        lambda limits: {"regex": r"\S"},
        lambda limits: "every image has a label",
        "fill in the label, or take the row out",
        needed=True,
    ),
    CheckSpec(
        "two_classes",
        "classes",
        "critical",
        "ExpectTableRowCountToBeBetween",
        None,
        lambda limits: {"min_value": 2},
        lambda limits: "there are at least two classes",
        "add a class folder with images of the other class",
        needed=True,
    ),
    CheckSpec(
        "images_per_class",
        "classes",
        "critical",
        BETWEEN,
        "images",
        lambda limits: {"min_value": limits.min_images_per_class},
        lambda limits: f"every class has at least {limits.min_images_per_class} images",
        "add images of the class, or set validation.severity.images_per_class to quarantine to leave the class out, or "
        "lower validation.min_images_per_class",
        found="images: {}",
        whole_class=True,
        explains=("balance",),
    ),
    CheckSpec(
        "label_conflict",
        "images",
        "critical",
        IN_SET,
        "conflict",
        lambda limits: {"value_set": [False]},
        lambda limits: "no image has two labels",
        "decide for one label and take the other copy out",
        needed=True,
        explains=("duplicates_across_splits", *_COPIES),
    ),
    CheckSpec(
        "duplicates_across_splits",
        "images",
        "warning",
        IN_SET,
        "straddles",
        lambda limits: {"value_set": [False]},
        lambda limits: "no image, nor a near copy or another of its group, is in both train and test",
        "nothing has to be done: the training copy is left out, so that the test stays honest",
        exempt_column="test_copy",
        explains=_COPIES,
    ),
    CheckSpec(
        "balance",
        "classes",
        "warning",
        BETWEEN,
        "times_smaller",
        lambda limits: {"max_value": limits.max_imbalance},
        lambda limits: f"no class is more than {limits.max_imbalance:g} times smaller than the largest",
        "add images of the small class, and look at macro F1 rather than at accuracy",
        found="{} times smaller than the largest",
    ),
)
_LAST = (
    CheckSpec(
        "one_scene",
        "images",
        "warning",
        IN_SET,
        "scene",
        lambda limits: {"value_set": [False]},
        lambda limits: "most images do not look like images of another class",
        "nothing has to be done where one camera shows one scene: only equal hashes then count as copies. Frames that "
        "follow one another should name their clip or day in a table's column group, lest they lie in both training "
        "and test. Where they are real copies, lower validation.near_duplicate_distance",
        dataset_level=True,
    ),
    CheckSpec(
        "duplicates",
        "images",
        "warning",
        BETWEEN,
        "copies",
        lambda limits: {"max_value": 1},
        lambda limits: "no image is there twice, nor nearly so",
        "nothing has to be done: copies stay on one side of every split; take them out if they are mistakes",
        exempt_column="first_copy",
    ),
    CheckSpec(
        "cluster_size",
        "images",
        "warning",
        BETWEEN,
        "copies",
        lambda limits: {"max_value": LARGE_CLUSTER},
        lambda limits: f"no more than {LARGE_CLUSTER} images look like copies of one another",
        "if they are different images, lower validation.near_duplicate_distance",
        exempt_column="first_copy",
        explains=("duplicates",),
    ),
    CheckSpec(
        "model_classes",
        "class_set",
        "warning",
        IN_SET,
        "where",
        lambda limits: {"value_set": ["both"]},
        lambda limits: "the classes are those of the packaged model",
        "where the change is meant, nothing has to be done: the next model has the new classes; else look for a class "
        "folder that was renamed, lost or misspelt",
    ),
    CheckSpec(
        "drift",
        "drift",
        "warning",
        BETWEEN,
        "shift",
        lambda limits: {"max_value": limits.max_drift},
        lambda limits: (
            f"no fact's distribution is further than {limits.max_drift:g} from that of the last validated data"
        ),
        "look at what is new: another camera, export or mix of classes; where the change is meant, nothing has to be "
        "done, for the next data is compared with this",
    ),
)


def checks_of(modality: Modality) -> tuple[CheckSpec, ...]:
    """Every check of a modality's data, in the order of the report."""
    return (*_FIRST, *modality.checks, *_LAST)
