"""`graft compare`: two models side by side on the same images, with the paired test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from graft.cli.evaluate import figure_of, model_facts, say_data
from graft.metrics.formatting import megabytes, metric_name, millions, point_interval, points

if TYPE_CHECKING:
    from graft.evaluation.model_metrics import ModelMetrics
    from graft.stats.paired import PairedTest


def compare_models(first: Path, second: Path, data: str, as_json: bool) -> None:
    """Measure both models on ``data``, each image decoded once, and print which is better.

    Raises:
        WeightsError: a model is missing, they know different classes, or the data has classes that they do not know.
        DataError: the data cannot be read, or an image of it cannot be decoded; the others were still measured.
    """
    from graft.core.determinism import make_deterministic
    from graft.core.workspace import Workspace
    from graft.evaluation.external_data import answers_on, data_facts, refuse_unreadable, seen_in_training
    from graft.evaluation.model_metrics import compute_metrics, figures, reasons, resampling_of
    from graft.inference.predictor import Predictor
    from graft.stats.paired import compare_pair, refuse_other_classes, to_json

    folders = {"first": first, "second": second}
    models = {name: Predictor.load(folder) for name, folder in folders.items()}
    refuse_other_classes(models["first"].classes, models["second"].classes, (str(first), str(second)))
    make_deterministic()
    labelled, asked = answers_on(data, models, f"the model in {first}")
    said, held_out = asked.said, asked.held_out
    resampling = resampling_of(held_out)
    judged = {name: compute_metrics(held_out, said[name], models[name].artifact.trust, resampling) for name in models}
    right = {name: said[name].outputs.argmax(axis=1) == held_out.labels for name in models}
    pair = compare_pair(right["first"], right["second"], held_out.units)
    seen = [seen_in_training(asked, model.artifact, Workspace.find()) for model in models.values()]
    most = max((count for count in seen if count is not None), default=None)
    facts = {name: model_facts(folder, models[name]) for name, folder in folders.items()}
    if as_json:
        sides = {
            name: {"model": facts[name], **figures(judged[name]), "reasons": reasons(judged[name])} for name in folders
        }
        summary = {
            "data": data_facts(labelled, asked, most),
            "n_test": len(held_out.labels),
            **sides,
            **to_json(pair),
        }
        print(json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False))
        refuse_unreadable(asked)
        return
    say_data(labelled, asked, most)
    print(f"\n  first   {facts['first']['name']} in {first}\n  second  {facts['second']['name']} in {second}\n")
    _side_by_side(judged["first"], judged["second"])
    _row("GMACs an image", *(f"{facts[name]['gmacs']:.3f}" for name in folders))
    _row("parameters", *(millions(facts[name]["parameters"]) for name in folders))
    _row("model.safetensors", *(megabytes(facts[name]["size_mb"]) for name in folders))
    print(f"\n{verdict(pair)}")
    refuse_unreadable(asked)


def _side_by_side(first: ModelMetrics, second: ModelMetrics) -> None:
    _row("", "first", "second")
    for name in first.scores:
        _row(metric_name(name), figure_of(first, name), figure_of(second, name))


def _row(name: str, first: str, second: str) -> None:
    print(f"  {name:20} {first:40} {second}")


def verdict(pair: PairedTest) -> str:
    """The finding in words, with the figures that it rests on."""
    named = {
        "first": "The first model is better.",
        "second": "The second model is better.",
        "undecided": "Undecided: these images do not show that either model is better.",
    }[pair.better]
    evidence = pair.reason or (
        f"only the first is right on {pair.first_only:,}, only the second on {pair.second_only:,} "
        f"(images, or groups of them); McNemar's exact test gives p = {pair.p_value:.3g}"
    )
    return (
        f"{named}\nAccuracy of the first minus that of the second: {points(pair.difference)} percentage points "
        f"(95%: {point_interval(pair.interval)}, paired);\n{evidence}."
    )
