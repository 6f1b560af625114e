"""augment: the preview sheet and the policy's name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML

from graft.augmentation.auto_policy import with_augmentation, with_candidates
from graft.core.config import load_params
from graft.models.zoo.default_candidates import image_candidates
from graft.pipeline import augment, ingest, split, validate
from graft.pipeline.execution.runner import run_stage


def prepare() -> None:
    for stage in (ingest, validate, split):
        assert run_stage(stage.__name__, stage.run) == 0


def test_the_sheet_shows_the_classes_in_turn(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path]
) -> None:
    make_classes({"cat": 8, "dog": 8})
    root = workspace_with(data={"source": "../images"}, augment={"policy": "light"})
    prepare()
    assert run_stage("augment", augment.run) == 0
    values = json.loads((root / "reports/augmentation/policy.json").read_text())
    assert values == {"policy": [{"name": "light", "options": {"mirror": 0.5, "crop": 0.2}}]}
    shown = json.loads((root / "reports/augmentation/preview.json").read_text())
    assert (shown["domain"], shown["size"]) == ("natural", 128)
    assert [path.split("/")[0] for path in shown["images"]] == ["cat", "dog"] * 3
    with Image.open(root / "reports/augmentation/preview.png") as sheet:
        assert sheet.format == "PNG"


def test_only_what_training_depends_on_is_in_policy_json(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path]
) -> None:
    """Fine-tuning waits for this file: it must not change with a domain that allows the same."""
    make_classes({"cat": 8, "dog": 8})
    files = []
    for settings in (
        {"policy": ["digits", "mixup"]},
        {"policy": ["digits", {"mixup": {"alpha": 0.2}}], "domain": "digits"},
        {"policy": ["digits", {"mixup": {"alpha": 0.3}}]},
    ):
        root = workspace_with(data={"source": "../images"}, augment=settings)
        if not files:
            prepare()
        assert run_stage("augment", augment.run) == 0
        files.append((root / "reports/augmentation/policy.json").read_bytes())
    assert files[0] == files[1] != files[2]


def test_what_a_search_may_try_is_in_allowed_json(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path]
) -> None:
    """The search waits for this file: another domain, and with it other policies to try, begins it anew."""
    make_classes({"cat": 8, "dog": 8})
    told = {}
    for domain in ("natural", "digits"):
        root = workspace_with(data={"source": "../images"}, augment={"policy": "none", "domain": domain})
        if not told:
            prepare()
        assert run_stage("augment", augment.run) == 0
        told[domain] = json.loads((root / "reports/augmentation/allowed.json").read_text())["allowed"]
    assert "light" in told["natural"] and "light" not in told["digits"]
    graph = YAML(typ="safe", pure=True).load((Path(__file__).parents[2] / "dvc.yaml").read_text(encoding="utf-8"))
    assert "reports/augmentation/allowed.json" in graph["stages"]["tune"]["deps"]


def test_a_policy_that_breaks_the_domain_is_refused(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 8, "dog": 8})
    root = workspace_with(data={"source": "../images"}, augment={"policy": "light", "domain": "digits"})
    prepare()
    assert run_stage("augment", augment.run) == 1
    assert "'light' would not keep the labels of the domain 'digits'" in capsys.readouterr().err
    assert not (root / "reports/augmentation").exists()


def test_with_nothing_set_policy_and_candidates_follow_from_the_images(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 8, "dog": 8})
    root = workspace_with(data={"source": "../images"}, zoo={"candidates": "auto"})
    prepare()
    assert run_stage("augment", augment.run) == 0
    assert "augment: standard, domain natural (the images are in colour); see " in capsys.readouterr().out
    reports = root / "reports/augmentation"
    params = with_candidates(with_augmentation(load_params(root / "params.yaml"), reports), reports)
    assert [policy.name for policy in params.augment.policy] == ["standard"] and params.augment.domain == "natural"
    assert params.zoo.candidates == image_candidates("natural", 20)
    assert json.loads((reports / "preview.json").read_text())["why"] == "the images are in colour"


def test_what_the_user_sets_is_not_refused_by_a_guess(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"a": 8, "b": 8})
    workspace_with(data={"source": "../images"}, augment={"policy": "light"})
    prepare()
    assert run_stage("augment", augment.run) == 0
    assert (
        "augment: every class is called by one character, and light changes their mirror: do labels stay right?\n"
    ) in capsys.readouterr().out


def test_an_unknown_policy_is_refused_by_name(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 8, "dog": 8})
    root = workspace_with(data={"source": "../images"}, augment={"policy": "lihgt"})
    prepare()
    assert run_stage("augment", augment.run) == 1
    assert "there is no augmentation policy 'lihgt'" in capsys.readouterr().err
    assert not (root / "reports/augmentation").exists()
