"""The table of checks: what is expected of the data, how severe it is, and how to say it.

To add a check, add a row, and the fault that breaks it in tests/validation/faults.py. What a row is about is a column
of one of the tables that graft.data.validation.tables makes; thresholds come from params.yaml's section ``validation``,
and so does another severity than the row's own.
"""

from __future__ import annotations

from graft.data.validation.check_spec import Check

LARGE_CLUSTER = 20

_BETWEEN = "ExpectColumnValuesToBeBetween"
_IN_SET = "ExpectColumnValuesToBeInSet"

_COPIES = ("cluster_size", "duplicates")
# What images break besides that show nothing.
_BLANK = ("contrast", "entropy", "sharpness", "label_conflict", "duplicates_across_splits", *_COPIES)

CHECKS = (
    Check(
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
    Check(
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
    Check(
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
    Check(
        "images_per_class",
        "classes",
        "critical",
        _BETWEEN,
        "images",
        lambda limits: {"min_value": limits.min_images_per_class},
        lambda limits: f"every class has at least {limits.min_images_per_class} images",
        "add images of the class, or set validation.severity.images_per_class to quarantine to leave the class out, or "
        "lower validation.min_images_per_class",
        found="images: {}",
        whole_class=True,
        explains=("balance",),
    ),
    Check(
        "label_conflict",
        "images",
        "critical",
        _IN_SET,
        "conflict",
        lambda limits: {"value_set": [False]},
        lambda limits: "no image has two labels",
        "decide for one label and take the other copy out",
        needed=True,
        explains=("duplicates_across_splits", *_COPIES),
    ),
    Check(
        "duplicates_across_splits",
        "images",
        "warning",
        _IN_SET,
        "straddles",
        lambda limits: {"value_set": [False]},
        lambda limits: "no image, nor a near copy or another of its group, is in both train and test",
        "nothing has to be done: the training copy is left out, so that the test stays honest",
        spared="test_copy",
        explains=_COPIES,
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
        explains=("brightness", *_BLANK),
    ),
    Check(
        "transparency",
        "images",
        "warning",
        _IN_SET,
        "white_on_white",
        lambda limits: {"value_set": [False]},
        lambda limits: "no image with transparency is white on the white ground that transparency is laid on",
        "save them on a dark ground, or take them out: to the network they are all white, and all the same",
        found="white on white",
        explains=("brightness", *_BLANK),
    ),
    Check(
        "proportions",
        "images",
        "warning",
        _BETWEEN,
        "cut_away",
        lambda limits: {"max_value": 100 * limits.max_cut_away},
        lambda limits: f"the centre square of every image shows at least {1 - limits.max_cut_away:.0%} of it",
        "preprocess.fit pad or squash shows all of it; auto finds out what is best where a quarter of the images "
        "are so",
        found="{}% is cut away",
    ),
    Check(
        "depth",
        "images",
        "warning",
        _BETWEEN,
        "range_used",
        lambda limits: {"min_value": 100 * limits.min_range_used},
        lambda limits: f"images of more than 8 bits use at least {limits.min_range_used:.0%} of their range",
        "set image.depth_scaling to dataset (from the least to the largest number of the training images) or to file "
        "(of each image)",
        found="uses {}% of its range",
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
        explains=("entropy", "sharpness", "label_conflict", "duplicates_across_splits", *_COPIES),
    ),
    Check(
        "contrast",
        "images",
        "warning",
        _BETWEEN,
        "contrast",
        lambda limits: {"min_value": limits.min_contrast},
        lambda limits: f"contrast is at least {limits.min_contrast:g} (standard deviation of luminance, at most 0.5)",
        "look at them: they are blank or nearly so, or hidden in fog",
        found="contrast {}",
        explains=("brightness", *_BLANK[1:]),
    ),
    Check(
        "entropy",
        "images",
        "warning",
        _BETWEEN,
        "entropy",
        lambda limits: {"min_value": limits.min_entropy},
        lambda limits: f"the entropy of the grey levels is at least {limits.min_entropy:g} bits (of 8)",
        "look at them: nearly all of their pixels are alike",
        found="{} bits",
        explains=("sharpness", "label_conflict", "duplicates_across_splits", *_COPIES),
    ),
    Check(
        "allowed_modes",
        "images",
        "warning",
        _IN_SET,
        "mode",
        lambda limits: None if limits.allowed_modes is None else {"value_set": list(limits.allowed_modes)},
        lambda limits: f"every file's mode is {_either(limits.allowed_modes)}",
        "convert the files, or add the mode to validation.allowed_modes",
        found="mode {}",
    ),
    Check(
        "allowed_formats",
        "images",
        "warning",
        _IN_SET,
        "format",
        lambda limits: None if limits.allowed_formats is None else {"value_set": list(limits.allowed_formats)},
        lambda limits: f"every file's format is {_either(limits.allowed_formats)}",
        "convert the files, or add the format to validation.allowed_formats",
        found="format {}",
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
        "one_scene",
        "images",
        "warning",
        _IN_SET,
        "scene",
        lambda limits: {"value_set": [False]},
        lambda limits: "most images do not look like images of another class",
        "nothing has to be done where one camera shows one scene: only equal hashes then count as copies. Frames that "
        "follow one another should name their clip or day in a table's column group, lest they lie in both training "
        "and test. Where they are real copies, lower validation.near_duplicate_distance",
        of_set=True,
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
        spared="first_copy",
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
        spared="first_copy",
        explains=("duplicates",),
    ),
    Check(
        "model_classes",
        "class_set",
        "warning",
        _IN_SET,
        "where",
        lambda limits: {"value_set": ["both"]},
        lambda limits: "the classes are those of the packaged model",
        "where the change is meant, nothing has to be done: the next model has the new classes; else look for a class "
        "folder that was renamed, lost or misspelt",
    ),
    Check(
        "drift",
        "drift",
        "warning",
        _BETWEEN,
        "shift",
        lambda limits: {"max_value": limits.max_drift},
        lambda limits: (
            f"no fact's distribution is further than {limits.max_drift:g} from that of the last validated data"
        ),
        "look at what is new: another camera, export or mix of classes; where the change is meant, nothing has to be "
        "done, for the next data is compared with this",
    ),
)


def _either(names: tuple[str, ...] | None) -> str:
    return " or ".join(names or ())
