"""What candidates are called in tables, plots and messages."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graft.core.settings import Candidate
    from graft.selection.candidates import CandidateResult


def name_of(result: CandidateResult) -> str:
    """Short name for tables and plots, such as ``resnet18 (source, 32 px)``."""
    return _name(result.candidate, result.preprocessing.geometry.size)


def name_of_candidate(candidate: Candidate) -> str:
    """The same where nothing but the candidate is known."""
    return _name(candidate, candidate.size)


def _name(candidate: Candidate, size: int | None) -> str:
    # A weights file is told by its name: its folder says nothing about it and would fill the table.
    weights = PurePath(candidate.weights).name
    side = "" if size is None else f", {size} px"
    return f"{candidate.arch.removeprefix('timm:')} ({weights}{side})"


def unique_names(names: list[str], depths: list[str]) -> list[str]:
    """Names told apart by what ``depth`` says where two are the same, so that no plot lays one over the other."""
    return [
        name if names.count(name) == 1 else f"{name[:-1]}, depth {depth})"
        for name, depth in zip(names, depths, strict=True)
    ]
