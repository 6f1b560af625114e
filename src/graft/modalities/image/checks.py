"""Checks of images: a row per expectation about the manifest's image columns.

To add a check, add a row, and the fault that breaks it in tests/data/validation/faults.py. Thresholds come from the
section ``validation`` of params.yaml, and so does another severity than the row's own.
"""

from __future__ import annotations

from graft.modalities.check_spec import BETWEEN, IN_SET, CheckSpec

_COPIES = ("cluster_size", "duplicates")
# What blank images break besides.
_BLANK = ("contrast", "entropy", "sharpness", "label_conflict", "duplicates_across_splits", *_COPIES)

CHECKS = (
    CheckSpec(
        "resolution",
        "images",
        "warning",
        BETWEEN,
        "short_side",
        lambda limits: {"min_value": limits.min_side},
        lambda limits: f"the shorter side of every image is at least {limits.min_side} pixels",
        "replace them by larger ones, or lower validation.min_side",
        found="{} px",
        explains=("brightness", *_BLANK),
    ),
    CheckSpec(
        "transparency",
        "images",
        "warning",
        IN_SET,
        "white_on_white",
        lambda limits: {"value_set": [False]},
        lambda limits: "no image with transparency is white on the white ground that transparency is laid on",
        "save them on a dark ground, or take them out: to the network they are all white, and all the same",
        found="white on white",
        explains=("brightness", *_BLANK),
    ),
    CheckSpec(
        "proportions",
        "images",
        "warning",
        BETWEEN,
        "cut_away",
        lambda limits: {"max_value": 100 * limits.max_cut_away},
        lambda limits: f"the centre square of every image shows at least {1 - limits.max_cut_away:.0%} of it",
        "preprocess.fit pad or squash shows all of it; auto finds out what is best where a quarter of the images "
        "are so",
        found="{}% is cut away",
        missing_reason="preprocess.fit is one that cuts nothing away",
    ),
    CheckSpec(
        "depth",
        "images",
        "warning",
        BETWEEN,
        "range_used",
        lambda limits: {"min_value": 100 * limits.min_range_used},
        lambda limits: f"images of more than 8 bits use at least {limits.min_range_used:.0%} of their range",
        "set image.depth_scaling to dataset (from the least to the largest number of the training images) or to file "
        "(of each image)",
        found="uses {}% of its range",
        missing_reason="no image has more than 8 bits, or image.depth_scaling is file",
    ),
    CheckSpec(
        "brightness",
        "images",
        "warning",
        BETWEEN,
        "brightness",
        lambda limits: {"min_value": limits.brightness[0], "max_value": limits.brightness[1]},
        lambda limits: (
            f"mean luminance is between {limits.brightness[0]:g} and {limits.brightness[1]:g} (black 0, white 1)"
        ),
        "look at them: nearly black or white images are often failed exposures",
        found="mean luminance {}",
        explains=("entropy", "sharpness", "label_conflict", "duplicates_across_splits", *_COPIES),
    ),
    CheckSpec(
        "contrast",
        "images",
        "warning",
        BETWEEN,
        "contrast",
        lambda limits: {"min_value": limits.min_contrast},
        lambda limits: f"contrast is at least {limits.min_contrast:g} (standard deviation of luminance, at most 0.5)",
        "look at them: they are blank or nearly so, or hidden in fog",
        found="contrast {}",
        explains=("brightness", *_BLANK[1:]),
    ),
    CheckSpec(
        "entropy",
        "images",
        "warning",
        BETWEEN,
        "entropy",
        lambda limits: {"min_value": limits.min_entropy},
        lambda limits: f"the entropy of the grey levels is at least {limits.min_entropy:g} bits (of 8)",
        "look at them: nearly all of their pixels are alike",
        found="{} bits",
        explains=("sharpness", "label_conflict", "duplicates_across_splits", *_COPIES),
    ),
    CheckSpec(
        "allowed_modes",
        "images",
        "warning",
        IN_SET,
        "mode",
        lambda limits: None if limits.allowed_modes is None else {"value_set": list(limits.allowed_modes)},
        lambda limits: f"every file's mode is {_either(limits.allowed_modes)}",
        "convert the files, or add the mode to validation.allowed_modes",
        found="mode {}",
    ),
    CheckSpec(
        "allowed_formats",
        "images",
        "warning",
        IN_SET,
        "format",
        lambda limits: None if limits.allowed_formats is None else {"value_set": list(limits.allowed_formats)},
        lambda limits: f"every file's format is {_either(limits.allowed_formats)}",
        "convert the files, or add the format to validation.allowed_formats",
        found="format {}",
    ),
    CheckSpec(
        "sharpness",
        "images",
        "warning",
        BETWEEN,
        "sharpness",
        lambda limits: {"min_value": limits.min_sharpness},
        lambda limits: f"sharpness is at least {limits.min_sharpness:g} (standard deviation of the Laplacian)",
        "look at them: they are blurred or blank",
        found="sharpness {}",
    ),
    CheckSpec(
        "one_frame",
        "images",
        "warning",
        BETWEEN,
        "frames",
        lambda limits: {"max_value": 1},
        lambda limits: "no file is an animation or a stack of pages",
        "only the first frame is used; save the frame you mean as a file of its own",
        found="frames: {}",
    ),
)


def _either(names: tuple[str, ...] | None) -> str:
    return " or ".join(names or ())
