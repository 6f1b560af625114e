"""`graft evaluate`: any model on any labelled images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.metrics.formatting import cell, counted, interval, metric_name, percent

if TYPE_CHECKING:
    from graft.evaluation.calibration_check import CalibrationCheck, Share
    from graft.evaluation.external_data import ExternalData, ExternalPredictions
    from graft.evaluation.model_metrics import ClassifierMetrics, ModelMetrics

_SHOWN = 5


def evaluate_model(model: Path | None, data: str, as_json: bool, out: Path | None) -> None:
    """Measure the model in ``model``, or where that is None the production model, on ``data`` and print the figures.

    Raises:
        WeightsError: there is no model, or the data has classes that it does not know.
        DataError: the data cannot be read, ``out`` holds something else, or an image cannot be decoded; the others
            were still measured.
    """
    from graft.core.determinism import make_deterministic
    from graft.core.workspace import Workspace
    from graft.evaluation.external_data import answers_on, data_facts, refuse_unreadable, seen_in_training
    from graft.evaluation.model_metrics import (
        ClassifierMetrics,
        check_free,
        class_facts,
        compute_metrics,
        figures,
        reasons,
        resampling_of,
        write_model_metrics,
    )
    from graft.inference.predictor import Predictor

    if out is not None:
        check_free(out)
    model = Workspace.find().production_model if model is None else model
    predictor = Predictor.load(model)
    make_deterministic()
    labelled, asked = answers_on(data, {"model": predictor}, f"the model in {model}")
    held_out = asked.held_out
    found = compute_metrics(held_out, asked.said["model"], predictor.artifact.trust, resampling_of(held_out))
    seen = seen_in_training(asked, predictor.artifact, Workspace.find())
    summary = {
        "model": model_facts(model, predictor),
        "data": data_facts(labelled, asked, seen),
        "n_test": len(asked.held_out.labels),
        "n_classes": len(predictor.classes),
        **figures(found),
        "reasons": reasons(found),
    }
    if isinstance(found, ClassifierMetrics):
        summary["per_class"] = class_facts(found)
    if out is not None:
        write_model_metrics(out, summary, found, asked)
    if as_json:
        print(json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False))
        refuse_unreadable(asked)
        return
    print(f"{predictor.artifact.name} in {model}")
    say_data(labelled, asked, seen)
    _say_figures(found)
    if isinstance(found, ClassifierMetrics):
        if found.majority is not None and (warning := found.majority.in_words()) is not None:
            _warn(warning)
        say_trust(found.trusted)
        _say_classes(found)
    if out is not None:
        print(f"written to {out}")
    refuse_unreadable(asked)


def model_facts(folder: Path, predictor: Any) -> dict[str, Any]:
    """Identity, size and cost of the model, as JSON."""
    from graft.models.flops import cost_of

    artifact = predictor.artifact
    return {
        "path": str(folder),
        "name": artifact.name,
        "sha256": artifact.sha256,
        "parameters": sum(parameter.numel() for parameter in predictor.network.parameters()),
        "gmacs": cost_of(
            predictor.network, artifact.preprocessing.collate(artifact.preprocessing.loader.random_rows(1))
        ).gmacs,
        "size_mb": (folder / "model.safetensors").stat().st_size / 1e6,
    }


def say_data(labelled: ExternalData, asked: ExternalPredictions, seen: int | None) -> None:
    """Print what was measured on; warn, on stderr, of what could not be read and of what was trained on."""
    images = counted(len(asked.held_out.labels), "image", "images")
    if labelled.divided:
        left = counted(labelled.unused, "image", "images")
        print(f"{labelled.source}: the test side, {images}; {left} of the training side left alone")
    else:
        print(f"{labelled.source}: all {images}; the source is not divided into train and test")
    units = asked.held_out.units.max() + 1
    if units < len(asked.held_out.labels):
        print(f"  {units:,} groups: copies and images of one group are drawn together for the intervals")
    if seen:
        _warn(f"the model was trained on {counted(seen, 'of these images', 'of these images')}: the figures flatter")
    elif seen is None and not labelled.divided:
        print("  these figures hold for unseen images only if the model was not trained on these ones")
    _list("cannot be decoded and are not counted below", [(item.path, item.why) for item in asked.unreadable])
    _list("are passed over", [(item.path, item.why) for item in labelled.skipped])


def _list(what: str, items: list[tuple[str, str]]) -> None:
    if not items:
        return
    _warn(f"{counted(len(items), 'file or folder', 'files or folders')} {what}:")
    for path, why in items[:_SHOWN]:
        print(f"  {path}: {why}", file=sys.stderr)
    if len(items) > _SHOWN:
        print(f"  and {len(items) - _SHOWN:,} more; --json lists all", file=sys.stderr)


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def figure_of(found: ModelMetrics, name: str) -> str:
    """A figure with its unit and its 95% interval, or a dash."""
    score, band = found.scores[name], found.intervals.get(name)
    if score.value is None:
        return "–"
    kind = found.held_out.task.metrics[name].unit
    if kind == "share":
        return percent(score.value) + ("" if band is None else f" (95%: {interval(band)})")
    unit = " nats" if kind == "nats" else ""
    spread = "" if band is None else f" (95%: {band.low:.4f} to {band.high:.4f})"
    return f"{score.value:.4f}{unit}{spread}"


def _say_figures(found: ModelMetrics) -> None:
    print()
    for name, score in found.scores.items():
        reason = "" if score.reason is None else f"  not computed: {score.reason}"
        print(f"  {metric_name(name):20} {figure_of(found, name)}{reason}")


def say_trust(found: CalibrationCheck) -> None:
    """Print whether the probabilities, "not sure" and "unlike the training images" can be relied on here."""
    temperature, threshold = found.trust.temperature, found.trust.threshold
    print()
    if found.calibration is not None and temperature.reason is None:
        change = found.calibration
        print(
            f"  temperature {temperature.value:.2f}: log loss {change.log_loss_before:.4f} nats without it, "
            f"{change.log_loss_after:.4f} with it; calibration error {change.ece_before:.4f}, {change.ece_after:.4f}"
        )
    print(f"  not sure below {percent(threshold.confidence)}: {_share_of(found.coverage)} of images are answered,")
    print(f"    {_share_of(found.answered)} of these rightly; {_share_of(found.unsure)} of the others")
    print(f"  like the training images: {_share_of(found.usual)}")


def _share_of(share: Share) -> str:
    if share.value is None:
        return f"– ({share.reason})"
    return percent(share.value) + ("" if share.interval is None else f" (95%: {interval(share.interval)})")


def _say_classes(found: ClassifierMetrics) -> None:
    width = max(5, *(len(row.name) for row in found.classes))
    print(f"\n  {'class':{width}} {'images':>7} {'precision':>9} {'recall':>7} {'F1':>7}")
    for row in found.classes:
        shares = f"{percent(row.precision):>9} {percent(row.recall):>7} {percent(row.f1):>7}"
        note = "" if row.reason is None else f"  {row.reason}"
        print(f"  {row.name:{width}} {cell(row.n_test):>7} {shares}{note}")
