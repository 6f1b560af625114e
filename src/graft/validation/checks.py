"""The table of checks: what is expected of the data, how severe it is, and how to say it.

A check is about the table of images (a row per file) or of classes (a row per class); graft.validation.tables makes
both. To add one, add a row; thresholds come from params.yaml's section ``validation``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from graft.config import Severity, Validation

LARGE_CLUSTER = 20


@dataclass(frozen=True)
class Check:
    """One expectation.

    Attributes:
        name: short and unique.
        table: which table it is about.
        severity: fixed, or taken from the thresholds.
        expectation: the name of a class of ``great_expectations.expectations``.
        column: the column it reads; None where it counts rows.
        arguments: the expectation's other arguments.
        says: what is expected, in words.
        remedy: what to do where it is not met.
        found: how the value that was found is written.
        needs_split: makes sense only where the source gives splits.
    """

    name: str
    table: Literal["images", "classes"]
    severity: Severity | Callable[[Validation], Severity]
    expectation: str
    column: str | None
    arguments: Callable[[Validation], Mapping[str, Any]]
    says: Callable[[Validation], str]
    remedy: str
    found: str = "{}"
    needs_split: bool = False

    def severity_for(self, limits: Validation) -> Severity:
        """The severity under these thresholds."""
        return self.severity if isinstance(self.severity, str) else self.severity(limits)


_BETWEEN = "ExpectColumnValuesToBeBetween"

CHECKS = (
    Check(
        "decodable",
        "images",
        lambda limits: limits.undecodable,
        "ExpectColumnValuesToBeNull",
        "problems",
        lambda limits: {},
        lambda limits: "every file is an image that can be decoded",
        "mend or remove the files, or set validation.undecodable to quarantine to leave them out",
    ),
    Check(
        "labelled",
        "images",
        "critical",
        "ExpectColumnValuesToMatchRegex",
        "label",
        lambda limits: {"regex": r"\S"},
        lambda limits: "every image has a label",
        "fill in the label, or take the row out",
    ),
    Check(
        "two_classes",
        "classes",
        "critical",
        "ExpectTableRowCountToBeBetween",
        None,
        lambda limits: {"min_value": 2},
        lambda limits: "there are at least two classes",
        "add a class folder with images of the other class",
    ),
    Check(
        "images_per_class",
        "classes",
        "critical",
        _BETWEEN,
        "images",
        lambda limits: {"min_value": limits.min_images_per_class},
        lambda limits: f"every class has at least {limits.min_images_per_class} images",
        "add images of the class, or take it out, or lower validation.min_images_per_class",
        found="images: {}",
    ),
    Check(
        "label_conflict",
        "images",
        "critical",
        "ExpectColumnValuesToBeInSet",
        "conflict",
        lambda limits: {"value_set": [False]},
        lambda limits: "no image has two labels",
        "decide for one label and take the other copy out",
    ),
    Check(
        "duplicates_across_splits",
        "images",
        "warning",
        "ExpectColumnValuesToBeInSet",
        "straddles",
        lambda limits: {"value_set": [False]},
        lambda limits: "no image, nor a near copy or another of its group, is in both train and test",
        "nothing has to be done: the training copy is left out, so that the test stays honest",
        needs_split=True,
    ),
    Check(
        "balance",
        "classes",
        "warning",
        _BETWEEN,
        "times_smaller",
        lambda limits: {"max_value": limits.max_imbalance},
        lambda limits: f"no class is more than {limits.max_imbalance:g} times smaller than the largest",
        "add images of the small class, and look at macro F1 rather than at accuracy",
        found="{} times smaller than the largest",
    ),
    Check(
        "resolution",
        "images",
        "warning",
        _BETWEEN,
        "short_side",
        lambda limits: {"min_value": limits.min_side},
        lambda limits: f"the shorter side of every image is at least {limits.min_side} pixels",
        "replace them by larger ones, or lower validation.min_side",
        found="{} px",
    ),
    Check(
        "brightness",
        "images",
        "warning",
        _BETWEEN,
        "brightness",
        lambda limits: {"min_value": limits.brightness[0], "max_value": limits.brightness[1]},
        lambda limits: (
            f"mean luminance is between {limits.brightness[0]:g} and {limits.brightness[1]:g} (black 0, white 1)"
        ),
        "look at them: nearly black or white images are often failed exposures",
        found="mean luminance {}",
    ),
    Check(
        "sharpness",
        "images",
        "warning",
        _BETWEEN,
        "sharpness",
        lambda limits: {"min_value": limits.min_sharpness},
        lambda limits: f"sharpness is at least {limits.min_sharpness:g} (standard deviation of the Laplacian)",
        "look at them: they are blurred or blank",
        found="sharpness {}",
    ),
    Check(
        "one_frame",
        "images",
        "warning",
        _BETWEEN,
        "frames",
        lambda limits: {"max_value": 1},
        lambda limits: "no file is an animation or a stack of pages",
        "only the first frame is used; save the frame you mean as a file of its own",
        found="frames: {}",
    ),
    Check(
        "duplicates",
        "images",
        "warning",
        _BETWEEN,
        "copies",
        lambda limits: {"max_value": 1},
        lambda limits: "no image is there twice, nor nearly so",
        "nothing has to be done: copies stay on one side of every split; take them out if they are mistakes",
    ),
    Check(
        "cluster_size",
        "images",
        "warning",
        _BETWEEN,
        "copies",
        lambda limits: {"max_value": LARGE_CLUSTER},
        lambda limits: f"no more than {LARGE_CLUSTER} images look like copies of one another",
        "if they are different images, lower validation.near_duplicate_distance",
    ),
)
