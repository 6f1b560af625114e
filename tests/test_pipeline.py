"""The whole pipeline as a user runs it, with little of everything: `dvc repro`, once more, and after a kill."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from graft.core.files import sha256
from tests.waiting import until

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

# The plan, and the stages that it tells.
ORDER = ["plan", "select", "tune", "finetune", "score", "package", "control", "evaluate"]
CANDIDATES = [
    {"arch": "shufflenet_v2_x0_5", "weights": "source", "size": 32},
    {"arch": "squeezenet1_1", "weights": "none", "size": 32},
    {"arch": "timm:tf_efficientnet_lite0", "weights": "bundled", "depth": "auto", "size": 32},
]


def _edit(folder: Path, **sections: dict[str, Any]) -> None:
    yaml = YAML()
    values = yaml.load(folder / "params.yaml")
    for section, changes in sections.items():
        values[section].update(changes)
    yaml.dump(values, folder / "params.yaml")


def _dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, timeout=3000, check=False
    )


def _ran(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Names of the stages that a `dvc repro` ran."""
    return [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage ")]


def _written(folder: Path) -> dict[Path, int]:
    """Every file below, and when it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as from an unpacked archive, in a path with a space, with no git, brought up to date once."""
    folder = tmp_path_factory.mktemp("un packed") / "my project"
    folder.mkdir()
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", "bentofile.yaml", "pyproject.toml"):
        shutil.copy2(ROOT / name, folder)
    for name in ("src", "flows"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (folder / ".dvc").mkdir()
    shutil.copy2(ROOT / ".dvc" / "config", folder / ".dvc")
    (folder / ".venv").symlink_to(sys.prefix)
    _dvc(folder, "config", "--local", "core.no_scm", "true")
    _edit(
        folder,
        data={"train_per_class": 8},
        zoo={"candidates": CANDIDATES},
        pretrain={"images_per_class": 4, "epochs": 1},
        select={"folds": 2},
        train={"epochs": 1, "control_steps": 4, "label_counts": [2]},
        # The models made here are poor ones, and better or worse by chance.
        package={"gate": {"min_accuracy": 0.05, "max_drop": None}},
    )
    done = _dvc(folder, "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(autouse=True)
def _as_it_was(project: Path) -> Any:
    kept = (project / "params.yaml").read_bytes()
    yield
    (project / "params.yaml").write_bytes(kept)


def test_every_file_of_the_contract_is_there(project: Path) -> None:
    for path in (
        "data/manifest.parquet",
        "data/splits.parquet",
        "reports/validation/validation.json",
        "reports/validation/index.html",
        "reports/plan/plan.json",
        "reports/selection/leaderboard.csv",
        "reports/selection/evidence.json",
        "reports/scores/metrics.json",
        "reports/control/control.json",
        "reports/evaluation/metrics.json",
        "reports/evaluation/per_class.csv",
        "reports/evaluation/confusion.csv",
        "reports/evaluation/report.html",
        "models/finetuned/model.safetensors",
        "models/finetuned/model.json",
        "models/controls/scratch/model.safetensors",
        "models/label_curve/labels-2/model.safetensors",
        "models/packaged/model.safetensors",
        "models/packaged/model.json",
    ):
        assert (project / path).stat().st_size > 0, path
    assert len(list((project / "data" / "raw").glob("*/*.png"))) == 1797
    with (project / "reports/selection/leaderboard.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # The controls stand below the candidates, and are marked.
    assert [row["kind"] for row in rows[: len(CANDIDATES)]] == ["candidate"] * len(CANDIDATES)
    assert {row["kind"] for row in rows[len(CANDIDATES) :]} == {"control"}
    metrics = json.loads((project / "reports/evaluation/metrics.json").read_text(encoding="utf-8"))
    named = {"accuracy", "accuracy_ci95", "macro_f1", "balanced_accuracy", "log_loss", "n_test", "transfer"}
    assert named <= set(metrics)
    assert metrics["n_test"] == 1717
    assert metrics["transfer"]["verdict"] in {"helps", "hurts", "undecided"}
    assert metrics["label_curve"]


def test_nothing_changed_nothing_runs(project: Path) -> None:
    done = _dvc(project, "repro")
    assert done.returncode == 0
    assert _ran(done) == []


def test_a_fine_tuning_setting_runs_fine_tuning_and_what_follows(project: Path) -> None:
    before = sha256(project / "data/splits.parquet")
    _edit(project, train={"weight_decay": 0.02, "control": False})
    done = _dvc(project, "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    ran = _ran(done)
    # What was delivered may be the head alone, to which this setting does nothing.
    assert {"plan", "select", "tune", "finetune", "control", "evaluate"} <= set(ran)
    assert set(ran) <= set(ORDER) and ran == sorted(ran, key=ORDER.index)
    assert before == sha256(project / "data/splits.parquet")
    metrics = json.loads((project / "reports/evaluation/metrics.json").read_text(encoding="utf-8"))
    told = metrics["transfer"]
    assert told["difference"] is None and told["reason"].startswith("no control was trained")
    assert told["rule"].startswith("a linear head") and told["evidence"]


def test_a_setting_of_the_control_trains_that_alone(project: Path) -> None:
    assert _dvc(project, "repro").returncode == 0
    packaged = sha256(project / "models/packaged/model.json")
    _edit(project, train={"control_steps": 6})
    done = _dvc(project, "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [name for name in _ran(done) if name in ORDER[1:]] == ["control", "evaluate"]
    assert sha256(project / "models/packaged/model.json") == packaged


@pytest.mark.parametrize(
    ("stage", "section", "key", "values", "outputs"),
    [
        ("pretrain", "pretrain", "learning_rate", (0.002, 0.003, 0.004), "models/source/*/model.safetensors"),
        ("select", "train", "epochs", (2, 3, 4), "reports/selection/winner.json"),
        ("finetune", "train", "learning_rate", (0.002, 0.003, 0.004), "models/*/**/model.safetensors"),
        ("control", "train", "control_steps", (40, 50, 60), "models/controls/**/model.safetensors"),
    ],
)
def test_killed_in_a_stage_and_run_again_gives_the_same_bytes(
    project: Path, stage: str, section: str, key: str, values: tuple[float, ...], outputs: str
) -> None:
    for value in values:
        _edit(project, **{section: {key: value}})
        _kill_in(project, stage)
        resumed = _dvc(project, "repro")
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
        if stage in _ran(resumed):
            break  # else a busy machine paused this process until the stage was over, and nothing was broken off
    assert stage in _ran(resumed)
    after_kill = {path: sha256(path) for path in sorted(project.glob(outputs))}
    assert after_kill
    assert _dvc(project, "repro", "--force", "--single-item", stage).returncode == 0
    assert after_kill == {path: sha256(path) for path in sorted(project.glob(outputs))}


def _kill_in(project: Path, stage: str) -> None:
    """Kill a `dvc repro` while that stage is at work, which says in its lock that it has begun."""
    running = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"], cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    holder = "control.json" if stage == "control" else "stage.json"

    def begun() -> bool:
        with suppress(FileNotFoundError):
            return stage in (project / ".graft" / holder).read_text(encoding="utf-8")
        return running.poll() is not None

    try:
        until(begun, 600)
        with suppress(subprocess.TimeoutExpired):
            running.wait(1.5)  # to be in the middle of it
    finally:
        running.kill()
        running.wait()


def test_the_gate_refuses_and_the_packaged_model_stays(project: Path) -> None:
    packaged = sha256(project / "models/packaged/model.json")
    _edit(project, package={"gate": {"min_accuracy": 0.999}})
    done = _dvc(project, "repro")
    assert done.returncode != 0
    assert "accuracy" in done.stderr and "0.999" in done.stderr and "Traceback" not in done.stderr
    assert sha256(project / "models/packaged/model.json") == packaged


def test_a_mistake_in_params_is_named(project: Path) -> None:
    text = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("  probe:", "  prope:"), encoding="utf-8")
    done = _dvc(project, "repro")
    assert done.returncode != 0
    assert "prope" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_missing_weights_are_named_before_any_work(project: Path) -> None:
    _edit(project, zoo={"candidates": [{"arch": "resnet18", "weights": "IMAGENET1K_V1"}]})
    before = _written(project / "models")
    done = subprocess.run(
        [sys.executable, "-m", "graft.pipeline.pretrain"], cwd=project, capture_output=True, text=True, check=False,
        env={**os.environ, "TORCH_HOME": str(project / "no hub"), "GRAFT_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "resnet18-f37072fd.pth are not on this machine" in done.stderr
    assert str(project / "no hub") in done.stderr and "Traceback" not in done.stderr
    assert _written(project / "models") == before, "nothing was trained"


def test_the_summary_says_how_good_it_is_and_how_to_serve_it(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.result"], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for part in ("accuracy", "reports/evaluation/report.html", "make serve"):
        assert part in done.stdout.lower() or part in done.stdout
