"""The shipped graph with stand-ins for its stages.

The graph is the real one and so is DVC; the stages write what they are asked for, at once. `augment` and `plan`
write what the real stages decide.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]

STAND_IN = """
import pathlib, sys
from ruamel.yaml import YAML
name = sys.argv[2].rpartition(".")[2]
stage = YAML(typ="safe", pure=True).load(pathlib.Path("dvc.yaml").read_text())["stages"][name]
with open("log.txt", "a") as log:
    print(name, file=log)
text = "made"
if name == "augment":
    import dataclasses
    from PIL import Image
    from graft.augmentation.auto_policy import VisualTraits, detect_domain
    from graft.augmentation.policy_config import parse_policies
    from graft.augmentation.domains import allowed_policies, check_domain
    from graft.core.config import load_params
    settings = load_params(pathlib.Path("params.yaml")).augment
    found = detect_domain("0123456789", [VisualTraits.of(Image.new("RGB", (8, 8)))], settings.domain)
    settings = dataclasses.replace(settings, domain=found.domain)
    if settings.policy[0].name == "auto":
        settings = dataclasses.replace(settings, policy=(found.policy,))
    check_domain(parse_policies(settings), settings.domain)
    text = str(parse_policies(settings).as_json())
    pathlib.Path("reports/augmentation").mkdir(parents=True, exist_ok=True)
    pathlib.Path("reports/augmentation/allowed.json").write_text(str(allowed_policies(settings.domain)))
    pathlib.Path("reports/augmentation/candidates.json").write_text("the same")
if name == "plan":
    import json
    from graft.core.config import load_params
    from graft.pipeline.inputs.planned import settings_by_stage
    pathlib.Path("reports/plan").mkdir(parents=True, exist_ok=True)
    for stage_name, settings in settings_by_stage(load_params(pathlib.Path("params.yaml"))).items():
        pathlib.Path(f"reports/plan/{stage_name}.json").write_text(json.dumps(settings))
    pathlib.Path("reports/plan/plan.json").write_text("the same")
files = {
    "reports/augmentation": ["policy.json"],
    "reports/plan": [],
    "reports/selection": ["out_of_fold.parquet", "winner.json", "network.json"],
    "reports/tuning": ["best.json"],
    "reports/scores": ["metrics.json"],
    "reports/evaluation": ["metrics.json"],
}
for out in stage["outs"]:
    path = pathlib.Path(next(iter(out)) if isinstance(out, dict) else out)
    if path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    else:
        path.mkdir(parents=True, exist_ok=True)
        for file in files.get(str(path), ["file.txt"]):
            (path / file).write_text(text)
"""


class Project:
    """The shipped graph with stand-ins for its stages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        shutil.copy(ROOT / "dvc.yaml", root)
        shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
        python = root / ".venv/bin/python"
        python.parent.mkdir(parents=True)
        (root / "stand_in.py").write_text(STAND_IN)
        # Not in the first line of a script: an interpreter's path with a space in it cannot stand there.
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{root}/stand_in.py" "$@"\n')
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        (root / "data/.links/weights").mkdir(parents=True)
        (root / "data/.links/weights/note.txt").write_text("x")
        for key in ("data.source", "pretrain.source"):
            for name in (key, f"{key}.table"):
                (root / "data/.links" / name).write_text("x")
        self.values: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
        self.set("augment")
        assert self.dvc("init", "--no-scm", "--quiet").returncode == 0

    def dvc(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(self.root / "src")}
        command = [sys.executable, "-m", "dvc", *words]
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def set(self, section: str, **keys: Any) -> None:
        """Write keys of a section of params.yaml."""
        self.values[section].update(keys)
        self.write()

    def write(self) -> None:
        """Write params.yaml."""
        with (self.root / "params.yaml").open("w", encoding="utf-8") as file:
            YAML(typ="safe").dump(self.values, file)

    def out_of_date(self) -> set[str]:
        """The stages that `dvc status` names."""
        return set(json.loads(self.dvc("status", "--json").stdout))

    def repro_augment(self, **augment: Any) -> tuple[set[str], int]:
        """Set keys of `augment`, reproduce, and name the stages that ran."""
        self.set("augment", **augment)
        return self.repro()

    def repro(self) -> tuple[set[str], int]:
        """Reproduce, and name the stages that ran."""
        log = self.root / "log.txt"
        log.unlink(missing_ok=True)
        done = self.dvc("repro")
        return set(log.read_text().split()) if log.exists() else set(), done.returncode
