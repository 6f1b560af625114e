"""A Bento runs where nothing but what it asks for is installed, and its container is built of what it needs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from bentoml.exceptions import BentoMLException

from graft.core.files import write_json
from graft.core.workspace import Workspace
from graft.serving.model.project_model import ProjectModel
from tests.serving.process import BENTOML, PATIENCE, ROOT, serving, workers_in
from tests.serving.test_process import predict, whole_project
from tests.waiting import until

__all__ = ["whole_project"]
MOST_MB = 300


def without_onnx(workspace: Workspace) -> None:
    """Leave the project as packaging does where torch cannot write the model as ONNX."""
    (workspace.packaged / "model.onnx").unlink()
    path = workspace.packaged / "package.json"
    write_json(path, {**json.loads(path.read_text()), "onnx": {"refused": "torch cannot write resnet18 as ONNX: no"}})


def test_a_model_without_onnx_says_what_to_do(project: Workspace, store: Path) -> None:
    without_onnx(project)
    with pytest.raises(BentoMLException) as refused:
        ProjectModel.in_project(project.root).to_info()
    assert str(refused.value) == (
        "a Bento runs its model by ONNX Runtime, and this model has no ONNX file: "
        "torch cannot write resnet18 as ONNX: no\n"
        f"  where: {project.packaged}\n"
        "  remedy: run `.venv/bin/dvc repro --force package`; or serve the folder by `bentoml serve`, which takes "
        "torch; or add torch, torchvision and timm to the packages of bentofile.yaml, and src/graft/models to its "
        "`include`"
    )


def test_a_bento_that_brings_torch_may_hold_it(project: Workspace, store: Path) -> None:
    without_onnx(project)
    shutil.copy(ROOT / "bentofile.yaml", project.root)
    with (project.root / "bentofile.yaml").open("a") as file:
        file.write('    - "torch==2.13.0"\n')
    assert str(ProjectModel.in_project(project.root).to_info().tag).startswith("graft:")


def built(project: Path, environment: dict[str, str]) -> tuple[str, Path]:
    """Build; the Bento's tag and folder."""
    command = [BENTOML, "build", "--output", "tag"]
    said = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=240, check=True
    )
    tag = re.search(r"__tag__:(\S+)", said.stdout)
    assert tag is not None
    return tag[1], Path(environment["BENTOML_HOME"]) / "bentos" / tag[1].replace(":", "/")


_CONTAINER = """
import sys, shutil, bentoml
from bentoml._internal.container import construct_containerfile
with construct_containerfile(bentoml.get(sys.argv[1]), enable_buildkit=False) as (context, dockerfile):
    shutil.copytree(context, sys.argv[2])
"""


def test_the_container_is_built_of_what_serving_needs(
    whole_project: Workspace, environment: dict[str, str], tmp_path: Path
) -> None:
    tag, _ = built(whole_project.root, environment)
    context = tmp_path / "context"
    subprocess.run(
        [sys.executable, "-c", _CONTAINER, tag, str(context)], env=environment, cwd=tmp_path, timeout=240, check=True
    )
    dockerfile = (context / "env" / "docker" / "Dockerfile").read_text()
    assert re.search(r"^FROM python:3\.1[123]-slim", dockerfile, flags=re.MULTILINE)
    assert "USER bentoml" in dockerfile and "ENV BENTOML_CONTAINERIZED=true" in dockerfile
    copied = re.findall(r"^COPY (?:--chown=\S+ )?(\S+)", dockerfile, flags=re.MULTILINE)
    assert [place for place in copied if not (context / place).exists()] == []
    readme = (context / "README.md").read_text()
    package = json.loads((whole_project.packaged / "package.json").read_text())
    assert readme.startswith(f"# {package['tag']}: what is in an image\n") and "make demo" not in readme
    told = ("one of 3 classes (ant, bee, wasp)", "curl -F image=@photo.jpg", "| `GRAFT_MAX_BODY` | `20` | MiB of a ")
    card = ("| accuracy | 0.930 (95%: 0.910 to 0.950) |", "| test images | 153 |", "| not sure under | 0.60 |")
    assert [line for line in (*told, *card) if line not in readme] == []
    packages = (context / "env" / "python" / "requirements.txt").read_text()
    names = {line.partition("=")[0] for line in packages.split("\n") if line}
    http = {"bentoml", "fastapi", "starlette", "uvicorn", "python-multipart"}
    assert names == {"numpy", "onnxruntime", "pillow", "pillow-heif", "pydantic", "safetensors", *http}
    model = next((context / "models" / "graft").glob("*/model.onnx"))
    assert model.read_bytes() == (whole_project.packaged / "model.onnx").read_bytes()
    strange = [path for path in context.rglob("*") if path.is_file() and "secret" in path.read_text(errors="ignore")]
    assert [path for path in strange if path.suffix != ".py"] == []


def installed_mb(environment: Path) -> float:
    """What lies in an environment, in MB."""
    return sum(path.lstat().st_size for path in environment.rglob("*") if path.is_file()) / 1e6


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_bento_serves_where_only_its_requirements_are_installed(
    whole_project: Workspace, environment: dict[str, str], image: Path, tmp_path: Path
) -> None:
    tag, bento = built(whole_project.root, environment)
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=240)
    install = [venv / "bin" / "python", "-m", "pip", "install", "-q", "-c", ROOT / "requirements.lock", "-r"]
    done = subprocess.run(
        [*install, bento / "env" / "python" / "requirements.txt"],
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"the package index cannot be asked: {done.stderr[-300:]}")
    shutil.rmtree(whole_project.root)
    size = installed_mb(venv)
    print(f"the Bento's environment: {size:.0f} MB")
    assert size <= MOST_MB
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    variables = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    variables["GRAFT_WORKERS"] = "2"
    with serving(elsewhere, variables, tag, bentoml=venv / "bin" / "bentoml") as url:
        assert predict(url, image)["label"] in {"ant", "bee", "wasp"}
        runtime = httpx.get(f"{url}/model", timeout=PATIENCE).json()["runtime"]
        assert {**runtime, "threads": 1} == {"engine": "onnxruntime", "device": "cpu", "threads": 1, "workers": 2}
        # What was built on one machine is not what serves on another: two workers, whatever the builder had.
        # The service is ready when the first of them is.
        workers = until(lambda: len(found := workers_in(elsewhere)) > 1 and found)
        assert [tag in worker.cmdline() for worker in workers] == [True, True]
