"""What candidates are called in tables, plots and messages."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from graft.models.zoo.registry import library_of

if TYPE_CHECKING:
    from graft.core.settings import Candidate
    from graft.selection.candidates import CandidateResult


def name_of(result: CandidateResult) -> str:
    """Short name for tables and plots, such as ``resnet18 (source, 32 px)``."""
    return _name(result.candidate, f"{result.preprocessing.size} {result.preprocessing.unit}")


def name_of_candidate(candidate: Candidate) -> str:
    """The same where nothing but the candidate is known."""
    if candidate.size is None:
        return _name(candidate, "")
    return _name(candidate, f"{candidate.size} {library_of(candidate.arch).unit}")


def _name(candidate: Candidate, size: str) -> str:
    # A weights file is told by its name: its folder says nothing about it and would fill the table.
    weights = PurePath(candidate.weights).name
    return f"{candidate.arch.removeprefix('timm:')} ({', '.join(filter(None, (weights, size)))})"


def unique_names(names: list[str], depths: list[str]) -> list[str]:
    """Names told apart by what ``depth`` says where two are the same, so that no plot lays one over the other."""
    return [
        name if names.count(name) == 1 else f"{name[:-1]}, depth {depth})"
        for name, depth in zip(names, depths, strict=True)
    ]
