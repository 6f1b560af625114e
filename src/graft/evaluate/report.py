"""report.html: one self-contained page, readable by a manager from the top and by an engineer from the bottom."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from graft.evaluate import curve_plots, findings, page_facts, page_tables, plots, wording
from graft.evaluate.drawings import drawings
from graft.evaluate.exhibits import Column, Picture, Row, Table
from graft.evaluate.leaderboard_table import RULES, leaderboard_tables, why_chosen
from graft.evaluate.page_head import head
from graft.evaluate.suspects import NOT_JUDGED, Suspect, Suspects
from graft.evaluate.wording import area, percent

if TYPE_CHECKING:
    import pandas as pd

    from graft.artifact import Artifact
    from graft.evaluate.gallery import Mistake, Shown
    from graft.evaluate.result import Evaluation
    from graft.evaluate.slices import Slice

_SECTIONS = (
    ("use", "Use"),
    ("transfer", "Transfer"),
    ("errors", "Errors"),
    ("slices", "Slices"),
    ("labels", "Labels"),
    ("classes", "Classes"),
    ("ranking", "Ranking"),
    ("confidence", "Confidence"),
    ("selection", "Selection"),
    ("training", "Training"),
    ("cost", "Cost"),
    ("data", "Data"),
    ("measured", "Method"),
    ("settings", "Settings"),
)


@dataclass(frozen=True)
class Exhibits:
    """What the page shows beside the figures.

    Attributes:
        artifact: the model's card.
        settings: every setting that led to the model, by name (:func:`graft.config.flatten`).
        leaderboard: what selection wrote, or None.
        agreement: what the cheap scores and fine-tuning agreed on, in words.
        selection: pictures of the selection.
        training: learning curves.
        mistakes: the most confident mistakes, each with its pictures.
        how_looked: how it was found out where the model looked, in a sentence.
        slices: accuracy on parts of the test images, weak ones first.
        suspects: training images whose label is doubted.
        suspect_pictures: those that are shown, each with its thumbnail as a ``data:`` address.
        excluded: images that were taken in but left out of the splits; None where that is not known.
    """

    artifact: Artifact
    settings: Mapping[str, Any]
    leaderboard: pd.DataFrame | None
    selection: Sequence[Picture]
    training: Sequence[Picture]
    excluded: int | None
    mistakes: Sequence[tuple[Mistake, Shown]] = ()
    how_looked: str = ""
    slices: tuple[Slice, ...] = ()
    suspects: Suspects = NOT_JUDGED
    suspect_pictures: Sequence[tuple[Suspect, str]] = ()
    agreement: Sequence[str] = ()


def render(found: Evaluation, exhibits: Exhibits, drawn: Mapping[str, str] | None = None) -> str:
    """The whole page as text: no script, and nothing that a browser would fetch.

    Args:
        found: the figures.
        exhibits: what is shown beside them.
        drawn: their pictures (:func:`graft.evaluate.drawings.drawings`), where they are drawn already.
    """
    from jinja2 import Environment, StrictUndefined

    room = files("graft.evaluate")
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string((room / "report.html.j2").read_text(encoding="utf-8"))
    css = _safe((room / "report.css").read_text(encoding="utf-8"))
    return template.render(css=css, version=version("graft"), **_parts(found, exhibits, drawn or drawings(found)))


def _parts(found: Evaluation, exhibits: Exhibits, drawn: Mapping[str, str]) -> dict[str, Any]:
    shown = {name: _safe(text) for name, text in drawn.items()}
    return {**head(found), **_evidence(found, exhibits, shown), **_confidence(found, shown), **_end(found, exhibits)}


def _safe(markup: str) -> Any:
    from markupsafe import Markup

    return Markup(markup)


def _evidence(found: Evaluation, exhibits: Exhibits, drawn: Mapping[str, Any]) -> dict[str, Any]:
    classes = found.held_out.classes
    shown = min(len(classes), plots.MOST_BARS)
    return {
        "plots": {
            "curve": drawn.get("label_curve"),
            "confusion": drawn["confusion"],
            "classes": drawn["classes"],
        },
        "curve": page_tables.curve_rows(found),
        "curve_alt": "Accuracy against labels per class; the figures are in the table beside",
        "errors_sentence": wording.errors_sentence(found),
        "confusion_caption": plots.confusion_caption(found.confusion),
        "confused": page_tables.confused_rows(found),
        "gallery": [_card(item, shown) for item, shown in exhibits.mistakes],
        "how_looked": exhibits.how_looked,
        "slices_sentence": findings.slices_sentence(exhibits.slices, found.scores["accuracy"].value or 0.0),
        "slices": page_tables.slice_rows(exhibits.slices),
        "suspects_sentence": findings.suspects_sentence(exhibits.suspects, len(exhibits.suspect_pictures)),
        "suspects": [_doubt(item, src) for item, src in exhibits.suspect_pictures],
        "classes": page_tables.classes_rows(found),
        "classes_caption": "Worst F1 first." if shown == len(classes) else f"The {shown} classes with the worst F1.",
        "class_reasons": [(row.name, row.reason) for row in found.classes if row.reason],
        "ranking": _ranking(found, drawn),
    }


def _ranking(found: Evaluation, drawn: Mapping[str, Any]) -> dict[str, Any] | None:
    """ROC and precision-recall curves; None where no class has one."""
    areas = {row.name: row.roc_auc for row in found.classes if row.roc_auc is not None}
    precisions = {row.name: row.average_precision for row in found.classes if row.average_precision is not None}
    if "roc" not in drawn:
        return None
    worst, least = curve_plots.lowest(areas)[0], curve_plots.lowest(precisions)[0]
    return {
        "roc": drawn["roc"],
        "pr": drawn["pr"],
        "sentence": findings.ranking_sentence(len(areas)),
        "roc_alt": f"ROC curves; the lowest area is {area(areas[worst])}, of class {worst}",
        "pr_alt": f"Precision-recall curves; the lowest mean precision is {area(precisions[least])}, of class {least}",
    }


def _confidence(found: Evaluation, drawn: Mapping[str, Any]) -> dict[str, Any]:
    threshold = found.trusted.trust.threshold.confidence
    return {
        "confidence_sentence": wording.confidence_sentence(found),
        "calibration_sentence": findings.calibration_sentence(found.trusted),
        "reliability": drawn["reliability"],
        "bands": page_tables.band_rows(found),
        "coverage_sentence": findings.coverage_sentence(found.trusted),
        "coverage": drawn["coverage"],
        "coverage_rows": page_tables.coverage_rows(found, threshold),
        "novelty_sentence": findings.novelty_sentence(found.trusted),
    }


def _card(item: Mistake, shown: Shown) -> dict[str, Any]:
    return {
        "src": shown.picture,
        "looked": shown.looked,
        "tiny": shown.picture.startswith("data:image/png"),
        "path": item.path,
        "true": item.true,
        "predicted": item.predicted,
        "confidence": percent(item.confidence),
        "right": percent(item.right),
    }


def _doubt(item: Suspect, src: str) -> dict[str, Any]:
    return {
        "src": src,
        "tiny": src.startswith("data:image/png"),
        "path": item.path,
        "given": item.given,
        "suggested": item.suggested,
        "given_confidence": percent(item.given_confidence),
        "suggested_confidence": percent(item.suggested_confidence),
    }


def _end(found: Evaluation, exhibits: Exhibits) -> dict[str, Any]:
    board = exhibits.leaderboard
    absent = set() if exhibits.training else {"training"}
    absent |= set() if any(row.roc_auc is not None for row in found.classes) else {"ranking"}
    return {
        "sections": [item for item in _SECTIONS if item[0] not in absent],
        "selection_rule": RULES[exhibits.settings.get("select.rule", "accurate")],
        "leaderboards": () if board is None else leaderboard_tables(board),
        "agreement": exhibits.agreement,
        "why": "" if board is None else why_chosen(board),
        "selection": exhibits.selection,
        "training": exhibits.training,
        "costs": page_facts.costs(found.cost),
        "cost_note": wording.cost_note(found.cost),
        "data": page_facts.data(found, exhibits.excluded),
        "data_note": wording.data_note(found),
        "metrics": page_tables.metrics_rows(found),
        "method": wording.method(found),
        "purpose": wording.purpose(found),
        "limits": wording.limits(found, found.trusted.trust.novelty.distance is not None),
        "model": {"name": exhibits.artifact.name, "facts": page_facts.model(exhibits.artifact)},
        "settings": Table(
            (Column("setting"), Column("value", words=True)),
            tuple(Row((name, _setting(value))) for name, value in exhibits.settings.items()),
        ),
    }


def _setting(value: Any) -> str:
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
