"""The data of the report: the evaluation, and results of other stages."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.evaluation.evaluation import ClassifierEvaluation, Evaluation
from graft.evaluation.explain.label_issues import NOT_JUDGED, LabelIssues
from graft.reporting.blocks import EmbeddedImage, GalleryItem
from graft.reporting.figures.plots import draw_all

if TYPE_CHECKING:
    import pandas as pd

    from graft.evaluation.slices import Slice
    from graft.inference.artifact import Artifact

_KINDS = {".svg": "image/svg+xml", ".png": "image/png"}
_CAPTIONS = {
    "latency": "Accuracy against the measured time of one image. On the line, no candidate is both faster and better.",
    "scores": "Mean cross-validated score of every candidate, with one standard error to each side.",
    "depths": "Accuracy of a linear head on every block's output: how much of the network the task wants.",
    "curves": "Training loss by epoch, of the model and its control; epoch 0 is the head alone.",
}


@dataclass(frozen=True)
class RunRecord:
    """What was planned for the run, and what it took.

    Attributes:
        preset: its name.
        time_limit: minutes, or None.
        strategy: the delivered strategy, by what it was chosen and why, in words.
        left_out: what the time limit left out.
        expected: seconds by stage, as planned.
        took: seconds and peak memory in MB by stage, when it last ran.
    """

    preset: str
    time_limit: float | None = None
    strategy: str = ""
    left_out: tuple[str, ...] = ()
    expected: Mapping[str, float] = field(default_factory=dict)
    took: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportContext:
    """Everything that a section of the report may show.

    Attributes:
        evaluation: the figures.
        artifact: the model's card.
        settings: every setting that led to the model, by name (:func:`graft.core.config.flatten`).
        leaderboard: what selection wrote, or None.
        agreement: how well cheap scores agree with fine-tuning, a sentence or two each.
        selection: pictures of the selection.
        training: learning curves.
        mistakes: the most confident mistakes with their pictures, and ``saliency`` how the maps came about.
        slices: accuracy on parts of the test images, weak ones first.
        suspects: training images whose label is doubted.
        label_issue_pictures: those that are shown.
        run: the plan, and what the stages took; None where nobody knows.
        excluded: images that were ingested but left out of the splits; None where that is not known.
    """

    evaluation: Evaluation
    artifact: Artifact
    settings: Mapping[str, Any]
    leaderboard: pd.DataFrame | None = None
    selection: Sequence[EmbeddedImage] = ()
    training: Sequence[EmbeddedImage] = ()
    excluded: int | None = None
    mistakes: Sequence[GalleryItem] = ()
    saliency: str = ""
    slices: tuple[Slice, ...] = ()
    suspects: LabelIssues = NOT_JUDGED
    label_issue_pictures: Sequence[GalleryItem] = ()
    agreement: Sequence[str] = ()
    run: RunRecord | None = None

    @property
    def classifier(self) -> ClassifierEvaluation:
        """The evaluation, for sections of tasks with classes."""
        assert isinstance(self.evaluation, ClassifierEvaluation), "the task has no such section"
        return self.evaluation

    @cached_property
    def figures(self) -> Mapping[str, str]:
        """A classifier's figures by name, as SVG (:func:`graft.reporting.figures.plots.draw_all`)."""
        return draw_all(self.evaluation) if isinstance(self.evaluation, ClassifierEvaluation) else {}


def pictures(folder: Path) -> tuple[EmbeddedImage, ...]:
    """Every .svg and .png of ``folder``, by name, as ``data:`` addresses; none where there is no folder."""
    files = sorted(path for path in folder.glob("*") if path.suffix in _KINDS) if folder.is_dir() else []
    found = []
    for path in files:
        payload = base64.b64encode(path.read_bytes()).decode()
        caption = _CAPTIONS.get(path.stem, path.stem.replace("_", " ").replace("-", " ").capitalize())
        found.append(EmbeddedImage(f"data:{_KINDS[path.suffix]};base64,{payload}", caption, caption))
    return tuple(found)
