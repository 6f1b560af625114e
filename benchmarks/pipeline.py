"""Time and peak memory of the demo's pipeline, of a run with nothing changed, and of one changed setting.

Run from the project's folder: `.venv/bin/python benchmarks/pipeline.py`. It works on a copy of what git tracks, in a
temporary folder, with this folder's .venv. `--quick` leaves out the changed setting. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def timed(folder: Path) -> tuple[float, list[str]]:
    """Seconds of one `dvc repro`, and the stages that it ran."""
    began = time.perf_counter()
    done = subprocess.run([".venv/bin/dvc", "repro"], cwd=folder, capture_output=True, text=True, check=True)
    ran = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage ")]
    return time.perf_counter() - began, ran


def measure(folder: Path, quick: bool) -> dict[str, object]:
    """All figures; seconds, and GB of the largest process."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    everything, stages = timed(folder)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    unchanged = min(timed(folder)[0] for _ in range(3))
    figures: dict[str, object] = {
        "pipeline_s": round(everything, 1),
        "stages": len(stages),
        "peak_memory_gb": round(peak, 2),
        "unchanged_s": round(unchanged, 2),
    }
    metrics = json.loads((folder / "reports/evaluation/metrics.json").read_text(encoding="utf-8"))
    figures["accuracy"] = round(metrics["accuracy"], 4)
    figures["accuracy_ci95"] = [round(bound, 4) for bound in metrics["accuracy_ci95"]]
    figures["transfer"] = [
        {key: point[key] for key in ("labels_per_class", "transfer_accuracy", "control_accuracy", "difference_ci95")}
        for point in metrics["label_curve"]
    ]
    if not quick:
        params = folder / "params.yaml"
        before = params.read_text(encoding="utf-8")
        after = before.replace("weight_decay: 0.05\n  label", "weight_decay: 0.04\n  label")
        assert after != before, "params.yaml has the key"
        params.write_text(after, encoding="utf-8")
        figures["finetuning_key_s"], figures["finetuning_key_ran"] = timed(folder)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the changed setting")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(Path(scratch) / "project", quick)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    print(json.dumps({"benchmark": "pipeline", "commit": commit.stdout.strip(), "cores": os.cpu_count(), **figures}))


if __name__ == "__main__":
    main()
