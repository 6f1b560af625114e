"""Requests per second of `bentoml serve`, against FastAPI with eager torch, at a 99th percentile of 100 ms at most.

Run from the project's folder, with nothing else at work: `.venv/bin/python benchmarks/serving.py` (some 15 minutes;
`--quick` 5). EfficientNet-Lite0 at 224 px with ImageNet weights and a head of two classes is packaged as the pipeline
does; the images are photographs of ../shared/data/hymenoptera, or generated ones where that is absent.

All services run all the time, each is asked in its turn by a second process (load.py) with 1 to 12 clients, and the
rounds are interleaved. A service's figure is the most answers a second among the numbers of clients at which the 99th
percentile, the median over the rounds, is within the limit. A service half of whose answers take longer than that is
asked by no more clients in that round, which counts as beyond it. The ceiling is ``cores / (decode + forward)``, each
timed on one thread in the same run. One JSON line at the end; where a service is never within the limit, a ratio to it
is null.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from graft.core.determinism import available_cores

ROOT = Path(__file__).resolve().parents[1]
PHOTOGRAPHS = ROOT.parent / "shared/data/hymenoptera"
ARCH = "timm:tf_efficientnet_lite0"
LIMIT_MS = 100.0
IMAGES = 64


@dataclass(frozen=True)
class Service:
    """One way to serve: its name in the results, what is run, and the variables it is given."""

    name: str
    kind: str  # "graft" or "plain"
    environment: dict[str, str] = field(default_factory=dict)
    workers: int = 1


def services(cores: int, quick: bool) -> list[Service]:
    """graft as it comes and in other settings, FastAPI as it comes and in every sensible one."""
    graft = [
        Service("graft", "graft"),
        Service(f"graft, {cores} workers", "graft", {"GRAFT_WORKERS": str(cores)}),
    ]
    settings = [(1, 1), (1, cores), (cores, 1), (cores, cores)]
    plain = [Service("plain", "plain")] + [
        Service(f"plain, {workers} x {threads}", "plain", {"PLAIN_THREADS": str(threads)}, workers)
        for workers, threads in dict.fromkeys(settings)
    ]
    return [*graft, *plain[: 4 if quick else None]]


def make_model(folder: Path) -> Path:
    """Package the network with its ImageNet weights; returns a project's folder."""
    import torch

    from graft.calibration.fitted_trust import FittedTrust, Novelty, Temperature, Threshold
    from graft.core.workspace import Workspace
    from graft.inference.artifact import Artifact, save_artifact
    from graft.inference.package import write_package
    from graft.inference.parity import write_onnx
    from graft.models.backbone import Network
    from graft.models.weights.bundled import bundled_file, map_by_order
    from graft.models.weights.state_dict import read_state
    from graft.models.zoo.registry import builder_for

    torch.manual_seed(0)
    family = builder_for(ARCH)
    model = family.model(ARCH)
    model.load_state_dict(map_by_order(read_state(bundled_file(ARCH)), model.state_dict(), bundled_file(ARCH)))
    network = Network(family.parts(ARCH, model), 2)
    trust = FittedTrust(Temperature(reason=None), Threshold(), Novelty(0.5, 1, 0.95, 40, 256))
    artifact = Artifact(("ant", "bee"), ARCH, "bundled", None, family.preprocessing(ARCH, None), trust=trust)
    reference = np.random.default_rng(0).standard_normal((256, network.head.in_features)).astype(np.float32)
    workspace = Workspace(folder)
    save_artifact(workspace.finetuned, artifact, network.eval(), reference)
    write_package(workspace.finetuned, workspace.packaged, "graft", {}, [], lambda made: write_onnx(made, []))
    (folder / "bentofile.yaml").write_text((ROOT / "bentofile.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def photographs(folder: Path) -> list[Path]:
    """JPEGs of both classes in turn, or generated ones of 500 x 375."""
    if PHOTOGRAPHS.is_dir():
        ants, bees = (sorted(PHOTOGRAPHS.glob(f"*/{name}/*.jpg")) for name in ("ants", "bees"))
        return [path for pair in zip(ants, bees, strict=False) for path in pair][:IMAGES]
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        coarse = Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=92)
    return sorted(folder.glob("*.jpg"))


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(service: Service, project: Path, model: Path) -> Iterator[tuple[int, float]]:
    """Start a service; yields its port and the seconds until it was ready."""
    port = free_port()
    environment = {**os.environ, "BENTOML_HOME": str(project / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    environment |= {"PLAIN_MODEL": str(model), "PYTHONPATH": str(ROOT / "src"), **service.environment}
    here = Path(sys.executable).parent
    uvicorn = [sys.executable, "-m", "uvicorn", "plain_service:app", "--app-dir", str(ROOT / "benchmarks")]
    command = {
        "graft": [str(here / "bentoml"), "serve", "--port", str(port)],
        "plain": [*uvicorn, "--port", str(port), "--workers", str(service.workers)],
    }[service.kind]
    log = (project / f"{port}.log").open("w")
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=project, env=environment, stdout=log, stderr=log, start_new_session=True, text=True
    )
    try:
        wait_until_ready(port, process, Path(log.name))
        yield port, time.perf_counter() - begun
    finally:
        end(process)
        log.close()


def wait_until_ready(port: int, process: subprocess.Popen[str], log: Path) -> None:
    """Return when the service says that it is ready."""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"a service ended by itself:\n{log.read_text()}")


def end(process: subprocess.Popen[str]) -> None:
    """Stop a service and all that it started."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=20)
    for one in alive:
        one.kill()


def ask(port: int, images: list[Path], *arguments: str) -> dict[str, object]:
    """What load.py says, run in a process of its own."""
    command = [sys.executable, str(ROOT / "benchmarks" / "load.py"), *map(str, images), "--port", str(port), *arguments]
    said: dict[str, object] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return said


def ceiling(model: Path, images: list[Path]) -> dict[str, float]:
    """Milliseconds of decoding and of running an image on one thread (medians), and what the cores could do."""
    from graft.inference.served_model import ServedModel

    loaded = ServedModel.load(model, 1)
    data = [path.read_bytes() for path in images]
    decode, forward = [], []
    for image in data:
        begun = time.perf_counter()
        pixels = loaded.preprocess(image)
        between = time.perf_counter()
        loaded.engine.run(pixels[None])
        forward.append(time.perf_counter() - between)
        decode.append(between - begun)
    both = statistics.median(decode) + statistics.median(forward)
    return {
        "decode_ms": round(statistics.median(decode) * 1e3, 2),
        "forward_ms": round(statistics.median(forward) * 1e3, 2),
        "per_second": round(available_cores() / both, 1),
    }


Results = dict[str, dict[int, list[dict[str, object]]]]
NOT_ASKED: dict[str, object] = {"per_second": 0.0, "statuses": {}}


def p99_of(said: dict[str, object]) -> float:
    """The 99th percentile in ms of one run; where nothing was answered, there is no end to it."""
    return float(str(said.get("p99_ms", "inf")))


def best(runs: dict[int, list[dict[str, object]]]) -> dict[str, object]:
    """The number of clients with the most answers a second among those within the limit; medians over the rounds."""
    rows = []
    for clients, said in runs.items():
        p99 = statistics.median(map(p99_of, said))
        rate = statistics.median(float(str(one["per_second"])) for one in said)
        rows.append({"clients": clients, "per_second": rate, "p99_ms": p99})
    within = [row for row in rows if row["p99_ms"] <= LIMIT_MS]
    if not within:
        return {"clients": None, "per_second": 0.0, "p99_ms": min(row["p99_ms"] for row in rows)}
    return max(within, key=lambda row: row["per_second"])


def over(ours: float, theirs: float) -> float | None:
    """How many times as much; None where theirs is never within the limit."""
    return round(ours / theirs, 2) if theirs else None


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, object]:
    """All figures."""
    cores = available_cores()
    project = make_model(folder / "project")
    model = project / "models" / "packaged"
    (folder / "images").mkdir()
    images = photographs(folder / "images")
    counts = [2, 4, 8] if asked.quick else [1, 2, 3, 4, 5, 6, 8, 12]
    rounds, seconds = (2, 2.5) if asked.quick else (4, 5.0)
    results: Results = {}
    ceilings, ready = [], {}
    with ExitStack() as stack:
        ports = {}
        for service in services(cores, asked.quick):
            ports[service.name], ready[service.name] = stack.enter_context(running(service, project, model))
            ask(ports[service.name], images, "--clients", "4", "--seconds", "2")  # warm, and its pages in memory
        for number in range(rounds):
            ceilings.append(ceiling(model, images))
            beyond: set[str] = set()
            for clients in counts:
                for name, port in ports.items():
                    said = NOT_ASKED
                    if name not in beyond:
                        said = ask(port, images, "--clients", str(clients), "--seconds", str(seconds))
                    if float(str(said.get("p50_ms", "inf"))) > LIMIT_MS:
                        beyond.add(name)
                    results.setdefault(name, {}).setdefault(clients, []).append(said)
                    print(f"round {number + 1}, {clients} clients, {name}: {said}", file=sys.stderr, flush=True)
    found = {name: best(runs) for name, runs in results.items()}
    top = max(ceilings, key=lambda one: one["per_second"])
    ours = float(str(found["graft"]["per_second"]))
    plain = {name: float(str(one["per_second"])) for name, one in found.items() if name.startswith("plain")}
    return {
        "cores": cores,
        "photographs": PHOTOGRAPHS.is_dir(),
        "limit_ms": LIMIT_MS,
        "services": found,
        "over_plain": over(ours, plain["plain"]),
        "over_best_plain": over(ours, max(plain.values())),
        "ceiling": top,
        "of_ceiling": round(ours / top["per_second"], 2),
        "ready_s": {name: round(value, 2) for name, value in ready.items()},
        "errors": sum(_errors(said) for runs in results.values() for one in runs.values() for said in one),
    }


def _errors(said: dict[str, object]) -> int:
    statuses = said["statuses"]
    assert isinstance(statuses, dict)
    return sum(count for status, count in statuses.items() if status not in {"200", "429"})


def commit() -> str:
    """The commit that is measured."""
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer services, clients and rounds: at most 5 minutes")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="graft-serving-") as folder:
        figures = measure(asked, Path(folder))
    print(json.dumps({"benchmark": "serving", "commit": commit(), **figures}))


if __name__ == "__main__":
    main()
