"""Toy projects of three shell stages, told what to do by the word in ``in.txt``."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from flows.graph import changed_stages, run_stage, stages_in_order

DVC_YAML = """\
stages:
  ingest:
    cmd: exec sh ingest.sh
    deps: [ingest.sh, in.txt]
    outs: [data.txt]
  select:
    cmd: exec sh select.sh
    deps: [select.sh, data.txt]
    outs: [reports/selection]
  evaluate:
    cmd: exec sh evaluate.sh
    deps: [evaluate.sh, reports/selection]
    metrics:
      - reports/evaluation/metrics.json:
          cache: false
    outs: [reports/evaluation/report.html, reports/evaluation/model_card.md, reports/evaluation/suspects.csv]
"""

INGEST = """\
echo reading in.txt
echo not a good word >&2
if grep -q bad in.txt; then
  echo "error: the file holds a bad word" >&2
  echo "  where: in.txt" >&2
  echo "  remedy: take a better word" >&2
  exit 1
fi
if grep -q silent in.txt; then exit 3; fi
if grep -q killed in.txt; then kill -9 $$; fi
cp in.txt data.txt
"""

SELECT = """\
mkdir -p reports/selection
printf 'candidate,accuracy\\nresnet18,0.9\\nmobilenet,0.8\\n' > reports/selection/leaderboard.csv
"""

EVALUATE = """\
mkdir -p reports/evaluation
echo '<p>fine</p>' > reports/evaluation/report.html
echo '# The card' > reports/evaluation/model_card.md
printf 'path,label,suggested\\na/1.png,a,b\\n' > reports/evaluation/suspects.csv
cat > reports/evaluation/metrics.json <<'END'
{"accuracy": 0.912, "accuracy_ci95": [0.9, 0.925], "macro_f1": 0.91, "n_test": 100,
 "transfer": {"verdict": "helps", "difference": 0.12, "difference_ci95": [0.09, 0.15]}}
END
"""


@dataclass(frozen=True)
class Toy:
    """A project folder."""

    root: Path

    def say(self, word: str) -> None:
        """Change the input of the first stage."""
        (self.root / "in.txt").write_text(f"{word}\n")


def make_toy(root: Path, scm: str) -> Toy:
    """Lay a project in ``root``; ``scm`` is ``git`` or ``no scm``."""
    root.mkdir(parents=True)
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n" if scm == "no scm" else "")
    if scm == "git":
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        (root / ".gitignore").write_text("/.dvc\n")
    files = {"dvc.yaml": DVC_YAML, "ingest.sh": INGEST, "select.sh": SELECT, "evaluate.sh": EVALUATE}
    for name, text in files.items():
        (root / name).write_text(text)
    toy = Toy(root)
    toy.say("good")
    return toy


def reproduce(root: Path) -> dict[str, bool]:
    """Bring the project up to date; which stages had something to do."""
    done = {}
    for stage in stages_in_order(root):
        if changed := bool(changed_stages(root, [stage.name])):
            run_stage(root, stage.name, print)
        done[stage.name] = changed
    return done
