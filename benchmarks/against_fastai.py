"""graft's presets against fastai's `fine_tune`: the same EfficientNet-Lite0 weights, the same images, the same time.

Run from the project's folder: `.venv/bin/python benchmarks/against_fastai.py [--sets NAME ...] [--presets NAME ...]
[--seeds N ...] [--epochs N|match ...]`. Sets, presets and graft's figures are those of presets.py, `balanced` alone
unless others are named. fastai has its turn after them on the same images, by fastai_learner.py: once for each of
--epochs, --rates and --recipes, on all training images and with its own defaults but for batches of 16 (of 64, its
default, 70 images make one step an epoch). `match`, the default, is as many epochs as take about as long as `balanced`
(or the first of --presets) took from params to packaged model. That holds the start of Python and its imports in every
stage, selection, calibration and evaluation, and fastai's seconds none of these, which is to fastai's advantage.

Rows of fastai say how far each preset is ahead, with a paired 95% interval; `_tta`: of fastai's augmented predictions.
fastai lives in a virtual environment of its own, which is made in --venv (some minutes, and access to the package
index); `--only-venv` ends there. `--quick`: one set, preset quick, two epochs. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from presets import Drawn, Turn, arguments, by_preset, measure, paired, plan_of, report
from project_copy import ROOT, Row, RunFailedError, digest, finish

from graft.core.determinism import available_cores

PACKAGES = ("fastai==2.8.12", "torch==2.13.0", "torchvision==0.28.0", "timm==1.0.31", "safetensors")
MATCH = "match"
OWN_SIZE = 224  # of the network where the set leaves the size to graft, which takes the same


@dataclass(frozen=True)
class Fastai:
    """fastai's turns.

    Attributes:
        python: of its environment.
        epochs: numbers, or ``match``.
        rates: base rates of `fine_tune`, or ``find``.
        recipes: names of fastai_learner.RECIPES.
        batch: images per step.
    """

    python: Path
    epochs: Sequence[str]
    rates: Sequence[str]
    recipes: Sequence[str]
    batch: int

    def __call__(self, drawn: Drawn, turns: Mapping[str, Turn]) -> Iterator[Row]:
        """A row for each number of epochs, rate and recipe; one that fails says why in ``failed``."""
        timed = turns.get("balanced") or next(iter(turns.values()), None)
        for epochs, rate, recipe in product(self.epochs, self.rates, self.recipes):
            how = ["--rate", rate, "--recipe", recipe]
            if epochs != MATCH:
                how += ["--epochs", epochs]
            elif timed is not None:
                how += ["--seconds", str(timed.row["model_s"])]
            else:
                continue  # no run of graft's came to its end, so there is no time to match
            named = {"fastai": f"fine_tune({epochs})"}
            try:
                yield {**named, **self._turn(drawn, turns, how)}
            except RunFailedError as failed:
                yield {**named, "failed": str(failed)}

    def _turn(self, drawn: Drawn, turns: Mapping[str, Turn], how: Sequence[str]) -> Row:
        script, size = ROOT / "benchmarks/fastai_learner.py", drawn.part.size or OWN_SIZE
        command = [str(self.python), str(script), str(drawn.folder), "--weights", str(drawn.weights)]
        command += ["--size", str(size), "--batch", str(self.batch), "--seed", str(drawn.seed)]
        done = finish([*command, "--workers", str(available_cores()), *how], ROOT)
        row = json.loads(next(line for line in reversed(done.output) if line.startswith("{")))
        right = {kind: row.pop(f"right{kind}") for kind in ("", "_tta")}
        digests = {file: digest(Path(file)) for file in right[""]}
        ahead = {
            f"{preset}_ahead{kind}": paired(turn.right, {digests[file]: hit for file, hit in right[kind].items()})
            for preset, turn in turns.items()
            for kind in right
        }
        return {**row, "peak_gb": round(done.peak_gb, 2), **ahead}


def environment(folder: Path) -> Path:
    """A Python that has fastai."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making an environment with fastai in {folder}: some minutes", file=sys.stderr)
        venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


def both_sides(rows: Sequence[Row]) -> Row:
    """Of each set and seed, seconds and accuracy: graft's presets, and fastai's turns without and with augmentation."""
    found: Row = {}
    for row in (row for row in rows if "failed" not in row):
        sides = found.setdefault(f"{row['data']}-{row['seed']}", {})
        if "preset" in row:
            sides[row["preset"]] = [row["model_s"], row["accuracy"]]
        else:
            name = f"fine_tune({row['epochs']}), {row['recipe']}, rate {row['rate']:.2g}"
            sides[name] = [row["seconds"], row["accuracy"], row["accuracy_tta"]]
    return {"graft": by_preset(rows), "both": found}


def main() -> None:
    """Let both sides take turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    arguments(parser, ["balanced"])
    parser.add_argument("--epochs", nargs="+", default=[MATCH], metavar="N", help="of everything; or match")
    parser.add_argument("--rates", nargs="+", default=["0.002"], metavar="RATE", help="base rates; or find")
    parser.add_argument("--recipes", nargs="+", default=["random_crop"], metavar="NAME", help="of fastai_learner.py")
    parser.add_argument("--batch", type=int, default=16, help="fastai's images per step")
    parser.add_argument("--venv", type=Path, default=Path(tempfile.gettempdir()) / "graft-fastai")
    parser.add_argument("--only-venv", action="store_true", help="make fastai's environment, and end")
    given = parser.parse_args()
    python = environment(given.venv)
    if given.only_venv:
        return
    plan = plan_of(given)
    rival = Fastai(python, ["2"] if given.quick else given.epochs, given.rates, given.recipes, given.batch)
    report("against_fastai", plan, measure(plan, rival), both_sides)


if __name__ == "__main__":
    main()
