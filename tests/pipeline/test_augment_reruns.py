"""The shipped dvc.yaml: what a change of the augmentation runs again, and that a refused policy stops training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.stand_ins import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_what_a_change_of_the_augmentation_runs_again(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    ran, code = project.repro()
    assert code == 0 and {"augment", "select", "finetune", "evaluate", "package"} <= ran
    assert project.repro() == (set(), 0)
    # Written otherwise, it is the same policy. (`evaluate` prints all settings in its report.)
    assert project.repro_augment(policy=["digits"]) == ({"augment", "evaluate"}, 0)
    assert project.repro_augment(policy=[{"digits": {"rotation": 12}}]) == ({"augment", "evaluate"}, 0)
    # The domain decides which policies the search may try; it found the same, so nothing is trained again.
    assert project.repro_augment(domain="natural") == ({"augment", "tune", "evaluate"}, 0)
    # What training sees changes: the winner is trained again, and so are the finalists, by the same recipe.
    trained = {"augment", "select", "tune", "finetune", "control", "evaluate"}
    assert project.repro_augment(policy=["digits", "mixup"]) == (trained, 0)
    assert project.repro_augment(policy=["digits", {"mixup": {"alpha": 0.5}}]) == (trained, 0)
    # A policy that the domain forbids stops there, although the graph has other branches.
    ran, code = project.repro_augment(policy="light", domain="digits")
    assert code != 0 and "finetune" not in ran and "evaluate" not in ran
