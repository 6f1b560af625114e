"""What the Prefect flow costs over `dvc repro` where nothing changed, with a running server.

Run from the project's folder: `.venv/bin/python benchmarks/flow_overhead.py`. It makes a project of as many stages as
the real one in a temporary folder, starts a server of its own, and takes both by turns (best of --runs). Ends with one
JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAGES = 12


def make_project(root: Path) -> None:
    """A chain of stages that are done."""
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    lines = ["stages:"]
    for number in range(STAGES):
        lines += [
            f"  stage{number}:",
            f"    cmd: cp {number}.txt {number + 1}.txt",
            f"    deps: [{number}.txt]",
            f"    outs: [{number + 1}.txt]",
        ]
    (root / "dvc.yaml").write_text("\n".join(lines) + "\n")
    (root / "0.txt").write_text("x\n")
    # The flow ends with the last evaluation's figures.
    (root / "reports" / "evaluation").mkdir(parents=True)
    (root / "reports" / "evaluation" / "metrics.json").write_text('{"accuracy": 0.9, "n_test": 1}')


@contextmanager
def server(environment: dict[str, str]) -> Iterator[str]:
    """A server on a free port; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("prefect")), "server", "start", "--port", str(port), "--no-ui"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            address = f"http://127.0.0.1:{port}/api"
            for _ in range(600):
                try:
                    with urllib.request.urlopen(f"{address}/health", timeout=2):
                        break
                except OSError:
                    time.sleep(0.3)
            yield address
        finally:
            process.terminate()


def timed(command: list[str], root: Path, environment: dict[str, str]) -> float:
    """Seconds of one command."""
    began = time.perf_counter()
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def measure(runs: int) -> dict[str, object]:
    """Best of ``runs`` of each, in seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "project"
        make_project(root)
        path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PREFECT_HOME": str(Path(scratch) / "home"), "PYTHONPATH": path}
        environment |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "DVC_NO_ANALYTICS": "1"}
        repro = [str(Path(sys.executable).with_name("dvc")), "repro"]
        flow = [sys.executable, "-m", "flows.pipeline"]
        with server(environment) as address:
            environment["PREFECT_API_URL"] = address
            timed(repro, root, environment)
            timed(flow, root, environment)
            times = [(timed(repro, root, environment), timed(flow, root, environment)) for _ in range(runs)]
    alone, shown = (min(column) for column in zip(*times, strict=True))
    return {"dvc_repro_s": round(alone, 2), "flow_s": round(shown, 2), "overhead_s": round(shown - alone, 2)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each (default: 5)")
    figures = measure(parser.parse_args().runs)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    about = {"benchmark": "flow_overhead", "commit": commit.stdout.strip(), "cores": os.cpu_count(), "stages": STAGES}
    print(json.dumps(about | figures))


if __name__ == "__main__":
    main()
