"""Every row of the table of checks by itself: its fault breaks it alone, under every severity it can have."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from graft.core.errors import ConfigError
from graft.core.settings import Validation
from graft.data.manifest import usable, with_keys
from graft.data.splits.groups import image_clusters
from graft.data.validation.builtin_checks import checks_of
from graft.data.validation.expectations import broken_rows_by_pandas
from graft.data.validation.findings import Finding, by_cause, refuses
from graft.data.validation.suite import Reference, not_checked, severities, validate_manifest, with_quarantine
from graft.modalities.check_spec import CheckSpec
from graft.modalities.image.modality import ImageModality
from tests.data.validation.faults import ENTAILED, FAULTS, NAMED, Case, params_with

CHECKS = checks_of(ImageModality())

EVERY = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
BY_NAME = {check.name: check for check in CHECKS}
FILE_CHECKS = [check for check in CHECKS if check.table == "images" and "quarantine" in check.choices]


def planted(check: CheckSpec, **severity: str) -> Case:
    """The clean case with the fault of ``check``, and its severity as given."""
    assert check.name in FAULTS, f"plant a fault for the check {check.name!r} in tests/data/validation/faults.py"
    case = FAULTS[check.name](Case())
    return replace(case, limits=replace(case.limits, severity=severity))


def validate(case: Case) -> dict[str, Finding]:
    return {item.check: item for item in validate_manifest(case.manifest, params_with(case.limits), case.reference)}


def test_the_clean_table_meets_every_check() -> None:
    findings = validate(Case())
    assert list(findings) == [check.name for check in CHECKS]
    assert [name for name, finding in findings.items() if not finding.success] == []
    assert not_checked(Case().manifest, params_with(Case().limits), Case().reference) == {}


@EVERY
def test_its_fault_breaks_it_and_nothing_else(check: CheckSpec) -> None:
    broken = {name: item for name, item in validate(planted(check)).items() if not item.success}
    assert set(broken) - ENTAILED.get(check.name, set()) == {check.name}
    finding = broken[check.name]
    assert finding.severity == check.severity
    assert refuses(broken.values()) == (check.severity == "critical")
    assert NAMED[check.name] in [item.source for item in finding.failing]
    assert finding.remedy and finding.says and finding.count >= 1
    assert finding.left_out == ()


@pytest.mark.parametrize("check", FILE_CHECKS, ids=lambda check: check.name)
def test_in_quarantine_its_fault_leaves_out_files_and_refuses_nothing(check: CheckSpec) -> None:
    case = planted(check, **{check.name: "quarantine"})
    findings = validate(case)
    finding = findings[check.name]
    assert (finding.success, finding.severity, finding.stops) == (False, "quarantine", False)
    assert finding.left_out
    assert set(finding.left_out) <= {item.path for item in finding.failing}
    assert not refuses(findings.values())
    marked = with_quarantine(case.manifest, tuple(findings.values()))
    assert marked.loc[marked["quarantine"] == check.name, "path"].tolist() == list(finding.left_out)
    assert sorted(usable(marked)["path"]) == sorted(set(case.manifest["path"]) - set(finding.left_out))


def test_what_all_quarantines_left_meets_everything() -> None:
    case = Case()
    for check in FILE_CHECKS:
        case = FAULTS[check.name](case)
    limits = replace(case.limits, severity={check.name: "quarantine" for check in FILE_CHECKS})
    findings = validate_manifest(case.manifest, params_with(limits), case.reference)
    broken = {item.check for item in findings if not item.success}
    # Once the copies are reduced to one, no cluster is large.
    assert broken >= {check.name for check in FILE_CHECKS} - {"cluster_size"}
    rest = usable(with_quarantine(case.manifest, findings)).drop(columns="quarantine").reset_index(drop=True)
    again = validate(replace(case, manifest=rest))
    assert [name for name in again if not again[name].success and name in {item.name for item in FILE_CHECKS}] == []


@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_a_finding_has_the_severity_that_the_user_gave_it(severity: str) -> None:
    chosen = {check.name: severity for check in CHECKS if severity in check.choices}
    findings = validate(planted(BY_NAME["decodable"], **chosen))
    assert {name: findings[name].severity for name in chosen} == chosen
    assert findings["decodable"].stops == (severity == "critical")


@EVERY
def test_what_is_ignored_is_not_checked_and_said_to_be(check: CheckSpec) -> None:
    case = planted(check, **{check.name: "ignore"})
    if check.needed:
        with pytest.raises(ConfigError, match="no model can be trained on data that does not meet it"):
            validate(case)
        return
    skipped = not_checked(case.manifest, params_with(case.limits), case.reference)
    assert skipped[check.name] == f"validation.severity.{check.name} is ignore"


def test_all_that_can_be_ignored_is_not_looked_at() -> None:
    case = planted(BY_NAME["decodable"], **{check.name: "ignore" for check in CHECKS if "ignore" in check.choices})
    assert list(validate(case)) == [check.name for check in CHECKS if check.needed]


def test_of_copies_in_quarantine_one_is_kept_and_rather_a_test_image() -> None:
    case = Case().with_copies(3).having(2, split="test")
    case = replace(case, limits=replace(case.limits, severity={"duplicates": "quarantine"}))
    assert validate(case)["duplicates"].left_out == ("cat/01.jpg", "cat/03.jpg")


def test_a_copy_stays_where_the_one_it_copies_is_left_out_for_another_reason() -> None:
    case = Case().with_copies(3).having(1, brightness=0.0)
    chosen = {"duplicates": "quarantine", "brightness": "quarantine"}
    findings = validate(replace(case, limits=replace(case.limits, severity=chosen)))
    assert findings["brightness"].left_out == ("cat/01.jpg",)
    assert findings["duplicates"].left_out == ("cat/03.jpg",)


def test_a_training_copy_of_a_test_image_is_what_quarantine_leaves_out() -> None:
    case = planted(BY_NAME["duplicates_across_splits"], duplicates_across_splits="quarantine")
    assert validate(case)["duplicates_across_splits"].left_out == ("cat/25.jpg",)


def test_classes_are_counted_without_what_is_left_out() -> None:
    case = Case()
    for row in range(30, 57):
        case = case.having(row, sharpness=0.0)
    limits = replace(case.limits, max_imbalance=100.0)
    assert validate(replace(case, limits=limits))["images_per_class"].success
    finding = validate(replace(case, limits=replace(limits, severity={"sharpness": "quarantine"})))["images_per_class"]
    assert finding.failing[0].value == "class 'dog', images: 3"


def test_what_is_left_out_refuses_nothing() -> None:
    case = FAULTS["label_conflict"](Case()).having(45, frames=2)
    case = replace(case, limits=replace(case.limits, severity={"one_frame": "quarantine"}))
    assert validate(case)["label_conflict"].success


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"brigthness": "warning"},
            "there is no check 'brigthness'\n  where: validation.severity\n  remedy: did you mean 'brightness'",
        ),
        (
            {"balance": "quarantine"},
            "the check 'balance' cannot be 'quarantine': it is not about single files, so there are none to leave out\n"
            "  where: validation.severity.balance\n"
            "  remedy: set it to critical or warning or ignore, or leave it out for warning",
        ),
        (
            {"label_conflict": "warning"},
            "the check 'label_conflict' cannot be 'warning': no model can be trained on data that does not meet it\n"
            "  where: validation.severity.label_conflict\n"
            "  remedy: set it to critical or quarantine, or leave it out for critical",
        ),
    ],
)
def test_a_severity_that_cannot_be_is_refused_by_name(given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        severities(CHECKS, Validation(severity=given))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "check",
    [item for item in CHECKS if item.table != "images" and item.name != "images_per_class"],
    ids=lambda item: item.name,
)
def test_what_is_not_about_files_leaves_none_out(check: CheckSpec) -> None:
    with pytest.raises(ConfigError, match="it is not about single files"):
        validate(planted(check, **{check.name: "quarantine"}))


def test_what_there_is_nothing_to_compare_with_is_not_checked_and_said_to_be() -> None:
    manifest = Case().manifest.assign(split=None, depth_low=float("nan"))
    manifest["split"] = manifest["split"].astype("str")
    assert not_checked(manifest, params_with(Validation())) == {
        "duplicates_across_splits": "the data does not come divided into train and test",
        "depth": "no image has more than 8 bits, or image.depth_scaling is file",
        "allowed_modes": "validation.allowed_modes is null",
        "allowed_formats": "validation.allowed_formats is null",
        "model_classes": "there is no packaged model to compare with",
        "drift": "there is no other validated data to compare with",
    }
    found = [item.check for item in validate_manifest(manifest, params_with(Validation()))]
    assert found == [
        check.name for check in CHECKS if check.name not in not_checked(manifest, params_with(Validation()))
    ]


def test_the_model_and_the_data_each_have_a_class_of_their_own() -> None:
    case = replace(Case(), reference=replace(Case().reference, classes=("bird", "cat")))
    finding = validate(case)["model_classes"]
    assert finding.count == 2
    assert [(item.path, item.source, item.value) for item in finding.failing[:2]] == [
        ("", "bird", "class 'bird' is only in the packaged model"),
        ("dog/30.jpg", "dog/30.jpg", "class 'dog' is not in the packaged model"),
    ]
    assert finding.to_dict()["files"][0] == "dog/30.jpg"
    assert finding.to_dict()["sources"][0] == "bird"


def test_a_fact_that_drifted_is_named_with_its_size_and_a_usual_image() -> None:
    case = FAULTS["drift"](Case()).having(17, brightness=0.99)
    (item,) = validate(case)["drift"].failing
    assert item.source == "brightness"
    assert item.value == "differs by 1.00: median 0.494 before, 0.794 now"
    ranks = case.manifest.set_index("path")["brightness"].rank(pct=True)
    assert 0.45 < ranks[item.path] < 0.55


def test_the_table_of_checks_has_no_name_twice() -> None:
    names = [check.name for check in CHECKS]
    assert len(names) == len(set(names))
    assert set(FAULTS) == set(names), "faults for checks that are no more"


@pytest.mark.parametrize("name", ["duplicates", "duplicates_across_splits"])
def test_quarantine_of_copies_does_not_hide_that_an_image_has_two_labels(name: str) -> None:
    case = FAULTS["label_conflict"](Case())
    findings = validate(replace(case, limits=replace(case.limits, severity={name: "quarantine"})))
    assert findings[name].left_out == ()
    assert findings["label_conflict"].stops


@EVERY
def test_pandas_answers_as_great_expectations_does(check: CheckSpec) -> None:
    for case in (Case(), planted(check), planted(BY_NAME["decodable"]).having(5, mode=None, width=pd.NA)):
        args = case.manifest, params_with(case.limits), case.reference
        assert validate_manifest(*args, broken_rows_by_pandas) == validate_manifest(*args)


def with_few(case: Case, count: int = 2) -> Case:
    """The case with a third class of so few images."""
    manifest = case.manifest.copy()
    manifest.loc[manifest.index[-count:], "label"] = "few"
    return replace(case, manifest=manifest, reference=Reference(("cat", "dog"), None))


def test_a_class_of_too_few_images_is_left_out_whole_and_the_others_are_trained_on() -> None:
    case = with_few(Case())
    case = replace(case, limits=replace(case.limits, severity={"images_per_class": "quarantine"}))
    findings = validate(case)
    finding = findings["images_per_class"]
    assert (finding.severity, finding.left_out) == ("quarantine", ("dog/58.jpg", "dog/59.jpg"))
    assert [item.value for item in finding.failing] == ["class 'few', images: 2"] * 2
    assert [name for name, item in findings.items() if not item.success] == ["images_per_class"]
    assert sorted(usable(with_quarantine(case.manifest, tuple(findings.values())))["label"].unique()) == ["cat", "dog"]


def test_a_class_is_counted_after_all_files_that_are_left_out() -> None:
    case = Case()
    for row in range(30, 57):
        case = case.having(row, sharpness=0.0)
    chosen = {"sharpness": "quarantine", "images_per_class": "quarantine"}
    findings = validate(replace(case, limits=replace(case.limits, severity=chosen)))
    assert findings["images_per_class"].left_out == ("dog/57.jpg", "dog/58.jpg", "dog/59.jpg")
    # A model needs two classes, and one is left.
    assert findings["two_classes"].stops


CAUSES = {
    "white icons on transparency": (
        {"mode": "RGBA", "brightness": 1.0, "contrast": 0.0, "entropy": 0.0, "sharpness": 0.0, "pixel_sha256": "white"},
        "transparency",
        "critical",
        {"contrast", "brightness", "entropy", "sharpness", "label_conflict", "duplicates", "duplicates_across_splits"},
    ),
    "black images": (
        {"brightness": 0.0, "contrast": 0.0, "entropy": 0.0, "sharpness": 0.0},
        "contrast",
        "warning",
        {"brightness", "entropy", "sharpness"},
    ),
    "dots": (
        {"width": 1, "height": 1, "contrast": 0.0, "entropy": 0.0, "sharpness": 0.0},
        "resolution",
        "warning",
        {"contrast"},
    ),
    "one image under two labels": (
        {"pixel_sha256": "same"},
        "label_conflict",
        "critical",
        {"duplicates", "duplicates_across_splits"},
    ),
}


@pytest.mark.parametrize(("values", "cause", "severity", "also"), CAUSES.values(), ids=CAUSES)
def test_one_cause_is_one_finding(values: dict[str, object], cause: str, severity: str, also: set[str]) -> None:
    case = Case(reference=Reference(("cat", "dog"), None))
    case = replace(case, limits=replace(case.limits, allowed_modes=None))
    for row in (3, 40):
        case = case.having(row, **values)
    (finding,) = by_cause(validate(case).values())
    assert (finding.check, finding.severity) == (cause, severity)
    assert also <= set(finding.also)
    assert finding.sentence().endswith(f"; so are not met: {', '.join(finding.also)}")
    assert {item.check for item in validate(case).values() if item.cause} == set(finding.also)


def test_what_a_cause_does_not_explain_whole_stands_for_itself() -> None:
    case = (
        Case(reference=Reference(("cat", "dog"), None)).having(3, contrast=0.0, sharpness=0.0).having(4, sharpness=0.0)
    )
    assert [item.check for item in by_cause(validate(case).values())] == ["contrast", "sharpness"]


def test_near_copies_of_one_class_are_copies_and_those_of_both_are_the_scene() -> None:
    scene = FAULTS["one_scene"](Case())
    clusters, shown = image_clusters(with_keys(scene.manifest, ImageModality()), 45)
    assert (len(set(clusters)), shown.all()) == (60, True)
    copies = Case()
    for row in range(60):
        copies = copies.having(row, phash=copies.manifest.at[row // 10 * 10, "phash"])
    clusters, shown = image_clusters(with_keys(copies.manifest, ImageModality()), 45)
    assert (len(set(clusters)), shown.any()) == (6, False)
    # The same pixels under two labels are mistakes, and no scene.
    conflict = Case(manifest=scene.manifest.assign(pixel_sha256=[str(row % 30) for row in range(60)]))
    assert not image_clusters(with_keys(conflict.manifest, ImageModality()), 45)[1].any()
