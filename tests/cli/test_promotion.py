"""`graft promote`, `rollback`, `history` and `publish` as typed: what they print, and what they leave unimported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from graft.core.files import write_json
from tests.registry.conftest import Project
from tests.registry.conftest import new_project as new_project  # fixtures
from tests.registry.conftest import project as project
from tests.registry.conftest import trained as trained

ENTRY = {
    "action": "promote", "when": "2026-01-02T03:04:05+00:00", "name": "birds", "md5": "0" * 32 + ".dir",
    "figures": {"accuracy": 0.9123, "accuracy_ci95": [0.89, 0.93], "n_test": 1717},
    "data": "d" * 64, "params": "e" * 64, "commit": "f" * 40,
}  # fmt: skip
DIFFERENCE = {"value": 0.0123, "ci95": [0.001, 0.02], "p_value": 0.02}


def graft(root: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "graft.cli.main", *words]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def test_history_is_told_newest_first_and_as_json(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    assert graft(tmp_path, "history").stdout == "no model was promoted yet: `graft promote` promotes the packaged one\n"
    assert json.loads(graft(tmp_path, "history", "--json").stdout) == []
    first = {**ENTRY, "number": 1, "version": "a" * 12, "tag": "birds@v1.0.0"}
    second = {**ENTRY, "number": 2, "version": "b" * 12, "replaced": "a" * 12, "difference": DIFFERENCE}
    write_json(tmp_path / "models" / "promotions.json", [first, second])
    assert graft(tmp_path, "history").stdout.splitlines() == [
        "  2  birds:bbbbbbbbbbbb  promoted 2026-01-02T03:04:05+00:00  <- production",
        "     accuracy  91.2% (95%: 89.0% to 93.0%) on 1,717 test images",
        "     against   aaaaaaaaaaaa, which was in use before: accuracy +0.0123 (95%: +0.0010 to +0.0200)",
        "     from      data dddddddddddd, params eeeeeeeeeeee, commit ffffffffffff",
        "  1  birds:aaaaaaaaaaaa  promoted 2026-01-02T03:04:05+00:00",
        "     accuracy  91.2% (95%: 89.0% to 93.0%) on 1,717 test images",
        "     from      data dddddddddddd, params eeeeeeeeeeee, commit ffffffffffff, tag birds@v1.0.0",
    ]
    told = json.loads(graft(tmp_path, "history", "--json").stdout)
    assert [(item["number"], item["production"]) for item in told] == [(1, False), (2, True)]


@pytest.mark.parametrize("command", ["history", "promote", "rollback", "publish", "registry verify"])
def test_a_folder_that_lies_in_no_project_is_named(tmp_path: Path, command: str) -> None:
    done = graft(tmp_path, *command.split(), code=1)
    assert (done.stdout, done.stderr) == (
        "",
        "error: this folder lies in no project of graft: neither it nor a folder above it has a params.yaml\n"
        f"  where: {tmp_path}\n  remedy: change to the project's folder, or one inside it\n",
    )


def test_history_of_the_project_is_found_from_a_folder_inside_it(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    write_json(tmp_path / "models" / "promotions.json", [{**ENTRY, "number": 1, "version": "a" * 12}])
    inside = tmp_path / "data" / "raw"
    inside.mkdir(parents=True)
    assert graft(inside, "history").stdout == graft(tmp_path, "history").stdout != ""


def test_history_needs_neither_dvc_nor_torch(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    write_json(tmp_path / "models" / "promotions.json", [{**ENTRY, "number": 1, "version": "a" * 12}])
    heavy = {"dvc", "torch", "pandas", "sklearn", "bentoml", "prefect"}
    code = (
        "import sys; from graft.cli.promotion import show_history; show_history(False); "
        f"print(*sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_refusals_are_one_message(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    said = graft(tmp_path, "rollback", code=1).stderr
    assert said == (
        "error: no model was ever promoted\n  where: models/promotions.json\n"
        "  remedy: promote one first: `graft promote`\n"
    )
    assert graft(tmp_path, "promote", code=1).stderr.startswith("error: no model was packaged here\n")


@pytest.mark.slow
def test_a_round_as_a_user_goes_it(project: Project, tmp_path: Path) -> None:
    root = project.root
    first = project.package(0)
    assert graft(root, "promote").stdout.splitlines() == [
        f"birds:{first} (number 1) is in use now: no model was promoted before",
        "  committed and tagged birds@v1.0.0: `git push --follow-tags` tells other clones",
    ]
    project.package(1, -0.01)
    assert "is not promoted: it is not better" in graft(root, "promote").stdout
    graft(root, "promote", "--anyway")
    address = str(tmp_path / "remote")
    assert graft(root, "publish", "--to", address).stdout.startswith(f"{address}: 10 objects sent")
    assert "every hash is right" in graft(root, "registry", "verify").stdout.splitlines()[1]
    since = json.loads(graft(root, "history", "--json").stdout)[0]["when"]
    assert f"birds:{first} (number 3) is in use again, as it was from {since} on" in graft(root, "rollback").stdout
    assert graft(root, "rollback", "--to", "2").returncode == 0
