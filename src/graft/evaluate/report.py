"""report.html: one self-contained page, readable by a manager from the top and by an engineer from the bottom."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from graft.evaluate import page_tables, plots, wording
from graft.evaluate.exhibits import Column, Picture, Row, Table
from graft.evaluate.leaderboard_table import leaderboard_tables, why_chosen
from graft.evaluate.metrics import bins
from graft.evaluate.wording import cell, interval, percent, points

if TYPE_CHECKING:
    import pandas as pd

    from graft.artifact import Artifact
    from graft.evaluate.gallery import Mistake
    from graft.evaluate.intervals import Interval
    from graft.evaluate.result import Evaluation

_SECTIONS = (
    ("transfer", "Transfer"),
    ("errors", "Errors"),
    ("classes", "Classes"),
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
        mistakes: the most confident mistakes, each with its thumbnail as a ``data:`` address.
        excluded: images that were taken in but left out of the splits; None where that is not known.
    """

    artifact: Artifact
    settings: Mapping[str, Any]
    leaderboard: pd.DataFrame | None
    selection: Sequence[Picture]
    training: Sequence[Picture]
    mistakes: Sequence[tuple[Mistake, str]]
    excluded: int | None
    agreement: Sequence[str] = ()


def render(found: Evaluation, exhibits: Exhibits) -> str:
    """The whole page as text: no script, and nothing that a browser would fetch."""
    from jinja2 import Environment, StrictUndefined

    room = files("graft.evaluate")
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string((room / "report.html.j2").read_text(encoding="utf-8"))
    css = _safe((room / "report.css").read_text(encoding="utf-8"))
    return template.render(css=css, version=version("graft"), **_top(found), **_middle(found), **_end(found, exhibits))


def _safe(markup: str) -> Any:
    from markupsafe import Markup

    return Markup(markup)


def _top(found: Evaluation) -> dict[str, Any]:
    transfer = found.transfer
    rows = []
    if transfer.transferred is not None and transfer.control is not None:
        sides = (("transferred", "ours", transfer.transferred), ("from scratch", "other", transfer.control))
        rows = [
            {
                "name": name,
                "kind": kind,
                "band": _band(side.interval),
                "text": f"{percent(side.accuracy)} ({interval(side.interval)})",
            }
            for name, kind, side in sides
        ]
    sentence = wording.transfer_sentence(transfer)
    return {
        "title": wording.title(found),
        "lead": wording.lead(found),
        "tiles": _tiles(found),
        "transfer": {"verdict": transfer.verdict, "sentence": sentence, "rows": rows},
    }


def _tiles(found: Evaluation) -> list[dict[str, Any]]:
    def share(name: str, key: str, more: str) -> dict[str, Any]:
        band = found.intervals.get(key)
        note = f"95%: {interval(band)}. {more}"
        return {"name": name, "value": percent(found.scores[key].value), "band": _band(band), "note": note}

    transfer, cost = found.transfer, found.cost
    gain = {"name": "Gain by transfer", "value": "–", "band": None, "note": transfer.reason}
    if transfer.difference is not None and transfer.interval is not None:
        gain["value"] = f"{points(transfer.difference)} pp"
        gain["note"] = f"percentage points over from scratch; 95%: {wording.point_interval(transfer.interval)}"
    return [
        share("Accuracy", "accuracy", "Share named rightly"),
        share("Macro F1", "macro_f1", "Rare classes weigh as much"),
        gain,
        {
            "name": "Time per image",
            "value": wording.milliseconds(cost.latency_ms),
            "band": None,
            "note": f"median; 95% stay under {wording.milliseconds(cost.latency_p95_ms)}",
        },
        {
            "name": "Model size",
            "value": wording.megabytes(cost.size_mb),
            "band": None,
            "note": f"{wording.millions(cost.parameters)} parameters",
        },
    ]


def _band(found: Interval | None) -> tuple[float, float] | None:
    return None if found is None else (round(100 * found.low, 2), round(100 * (found.high - found.low), 2))


def _middle(found: Evaluation) -> dict[str, Any]:
    classes = found.held_out.classes
    points_known = [point for point in found.curve if point.control is not None]
    shown = min(len(classes), plots.MOST_BARS)
    return {
        "plots": {
            "curve": _safe(plots.label_curve_svg(points_known)) if points_known else None,
            "confusion": _safe(plots.confusion_svg(classes, found.confusion)),
            "classes": _safe(plots.per_class_svg(found.classes)),
            "reliability": _safe(plots.reliability_svg(bins(found.held_out.labels, found.probabilities))),
        },
        "curve": page_tables.curve_rows(found),
        "curve_alt": "Accuracy against labels per class; the figures are in the table beside",
        "errors_sentence": wording.errors_sentence(found),
        "confused": page_tables.confused_rows(found),
        "classes": page_tables.classes_rows(found),
        "classes_caption": "Worst F1 first." if shown == len(classes) else f"The {shown} classes with the worst F1.",
        "bands": page_tables.band_rows(found),
        "class_reasons": [(row.name, row.reason) for row in found.classes if row.reason],
        "confidence_sentence": wording.confidence_sentence(found),
    }


def _end(found: Evaluation, exhibits: Exhibits) -> dict[str, Any]:
    board, cost = exhibits.leaderboard, found.cost
    gallery = [
        {
            "src": src,
            "tiny": src.startswith("data:image/png"),
            "path": item.path,
            "true": item.true,
            "predicted": item.predicted,
            "confidence": percent(item.confidence),
            "right": percent(item.right),
        }
        for item, src in exhibits.mistakes
    ]
    return {
        "sections": [item for item in _SECTIONS if item[0] != "training" or exhibits.training],
        "gallery": gallery,
        "leaderboards": () if board is None else leaderboard_tables(board),
        "agreement": exhibits.agreement,
        "why": "" if board is None else why_chosen(board),
        "selection": exhibits.selection,
        "training": exhibits.training,
        "costs": [
            ("Time per image, median", wording.milliseconds(cost.latency_ms)),
            ("Time per image, 95% under", wording.milliseconds(cost.latency_p95_ms)),
            ("model.safetensors", wording.megabytes(cost.size_mb)),
            ("Parameters", f"{cost.parameters:,}"),
        ],
        "cost_note": wording.cost_note(cost),
        **_data(found, exhibits),
        "metrics": page_tables.metrics_rows(found),
        "method": wording.method(found),
        "limits": wording.limits(found),
        "model": {"name": exhibits.artifact.name, "facts": _model(exhibits.artifact)},
        "settings": Table(
            (Column("setting"), Column("value", words=True)),
            tuple(Row((name, _setting(value))) for name, value in exhibits.settings.items()),
        ),
    }


def _data(found: Evaluation, exhibits: Exhibits) -> dict[str, Any]:
    held_out = found.held_out
    facts = [
        ("Classes", f"{len(held_out.classes):,}"),
        ("Training images", f"{int(held_out.n_train.sum()):,}"),
        ("Test images", f"{len(held_out.labels):,}"),
        ("Left out", "not known" if exhibits.excluded is None else f"{exhibits.excluded:,}"),
    ]
    return {"data": facts, "data_note": wording.data_note(found)}


def _model(artifact: Artifact) -> list[tuple[str, str]]:
    geometry = artifact.preprocessing.geometry
    facts = [
        ("Network", artifact.arch),
        ("Started from", artifact.weights),
        ("Cut", "not cut" if artifact.depth is None else f"after block {artifact.depth} (counted from 0)"),
        ("Input", f"{geometry.size} × {geometry.size} px, {geometry.interpolation}, centre {geometry.crop:.1%}"),
        ("sha256 of the weights", _short(artifact.sha256)),
    ]
    plain = {name: value for name, value in artifact.provenance.items() if isinstance(value, (str, int, float))}
    return facts + [(name.replace("_", " "), _short(cell(value))) for name, value in plain.items()]


def _short(text: str) -> str:
    """A hash is told by its beginning."""
    return text if len(text) < 40 else f"{text[:16]}…"


def _setting(value: Any) -> str:
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
