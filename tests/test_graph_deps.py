"""dvc.yaml against the imports: what a stage's module asks for is among the stage's deps, or it is said here why not.

DVC follows no imports. A stage whose code changed and that is not run again leaves results that nobody can make anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from graft.modalities.image.modality import ImageModality
from tests.test_layers import GRAFT, ROOT, imports_of

STAGES: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
# The ground floor under every stage: how it is started, where files lie, how they are read and written whole, what is
# kept from run to run. It decides no result; what does, the settings' values and the seed, are `params`.
GROUND = {
    "pipeline/execution/runner.py",
    "data/protected_paths.py",
    "data/stats_cache.py",
    "modalities/base.py",
    "modalities/registry.py",
}


def is_ground(file: Path) -> bool:
    return file.is_relative_to(GRAFT / "core") or name_of(file) in GROUND


# One stage's: the file, and why it is no dependency. What such a file imports is not looked at.
EXCEPTIONS = {
    "validate": {"inference/artifact.py": "the packaged model's classes are compared for the report only"},
    "split": {"data/sources/listing.py": "counts in words"},
}


def file_of(module: str) -> Path | None:
    """The file below src/graft of a module, or of the module that a name is taken from."""
    parts = module.split(".")
    while len(parts) > 1 and parts[0] == "graft":
        path = GRAFT.joinpath(*parts[1:])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
        parts.pop()
    return None


def name_of(file: Path) -> str:
    return file.relative_to(GRAFT).as_posix()


def asked_for(name: str) -> Iterator[Path]:
    """What a stage's module imports, and what those modules import that dvc.yaml lists one by one.

    These are parts of stages, and the modules of ``images``, of which some only say what is wrong.
    """
    waiting, seen = [GRAFT / "pipeline" / f"{name}.py"], set()
    while waiting:
        for found in imports_of(waiting.pop()):
            file = file_of(found.module)
            if file is None or file in seen:
                continue
            seen.add(file)
            yield file
            if is_ground(file) or name_of(file) in EXCEPTIONS.get(name, {}):
                continue
            if file.parent.relative_to(GRAFT).as_posix() in {
                "data",
                "data/sources",
                "data/sources/tables",
                "data/splits",
                "modalities/image",
                "pipeline/finetuning",
                "pipeline/inputs",
            } or (file.parent == GRAFT / "pipeline" and file.stem not in STAGES):
                waiting.append(file)


def uncovered(name: str) -> set[str]:
    """Files of src/graft that the stage asks for and that are none of its dependencies."""
    deps = [ROOT / path for path in STAGES[name]["deps"]]
    files = [file for file in asked_for(name) if not any(file == dep or dep in file.parents for dep in deps)]
    return {name_of(file) for file in files if not is_ground(file)}


@pytest.mark.parametrize("name", STAGES)
def test_what_a_stage_imports_is_what_it_depends_on(name: str) -> None:
    assert uncovered(name) == set(EXCEPTIONS.get(name, {})), "add it to the deps, or say here why not"


def test_the_imports_are_read() -> None:
    """Were the reading broken, the rule above would hold in silence."""
    files = {name_of(file) for file in asked_for("finetune")}
    assert {"pipeline/tune.py", "inference/artifact.py", "training/curves.py"} <= files
    assert "data/splits/hash_split.py" in {name_of(file) for file in asked_for("split")}, (
        "asked for by data/splits/splits.py"
    )
    assert file_of("graft.core.files.sha256") == GRAFT / "core" / "files.py"
    assert file_of("torch.nn") is None


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_no_module_that_only_says_what_is_wrong(name: str) -> None:
    """A changed message would do the work anew, in the worst case all training."""
    assert not [
        dep
        for dep in STAGES[name]["deps"]
        if dep.rstrip("/") in {"src", "src/graft", "src/graft/data", "src/graft/core"}
    ]
    assert not {"src/graft/data/doctor", "src/graft/data/changes.py"} & set(STAGES[name]["deps"])


@pytest.mark.parametrize("name", ["pretrain", "select", "tune", "finetune"])
def test_nothing_is_trained_again_for_what_is_only_shown(name: str) -> None:
    """How a number is written, what a response holds, what the sheet of augmented images looks like."""
    shown = ("metrics/formatting.py", "tasks/classification/response.py", "reporting/figures/augmentation_preview.py")
    deps = [ROOT / path for path in STAGES[name]["deps"]]
    files = [GRAFT / path for path in shown]
    assert all(file.is_file() for file in files)
    assert not [file for file in files if any(file == dep or dep in file.parents for dep in deps)]


def test_statistics_are_cached_by_the_code_that_computes_them() -> None:
    """Neither more, or a changed message has every image decoded again, nor less."""
    waiting, decides = [GRAFT / "modalities" / "image" / "stats.py"], {"modalities/image/stats.py"}
    while waiting:
        for found in imports_of(waiting.pop()):
            file = file_of(found.module)
            if file is not None and file.parent == GRAFT / "modalities" / "image" and name_of(file) not in decides:
                decides.add(name_of(file))
                waiting.append(file)
    assert set(ImageModality.code) == decides
