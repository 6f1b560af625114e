"""The leaderboard: a row per candidate, best first, then what failed, then the controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.metrics.scorer import ACCURACY, Scorer
from graft.selection.best import DEFAULT, Criterion, standard_error
from graft.selection.controls import Control, unbeaten
from graft.selection.cost.measure import Timing
from graft.selection.failures import Failed
from graft.selection.report.names import name_of, name_of_candidate, unique_names
from graft.selection.report.proxy_correlation import agreements, to_json
from graft.selection.rule import ranked, reasons

if TYPE_CHECKING:
    import pandas as pd

    from graft.selection.candidates import CandidateResult

CANDIDATE, CONTROL = "candidate", "control"
# Whole numbers that some rows do not have.
WHOLE = ("rank", "size", "depth", "blocks")
COLUMNS = (
    *("rank", "name", "score", "score_se", "metric", "kind", "arch", "weights", "size", "fit", "depth", "blocks"),
    *("finetuned_mean", "finetuned_sd", "finetuned_se", "head_mean", "head_sd", "head_se"),
    *("probe_mean", "probe_sd", "probe_se"),
    *("knn", "logme", "imagenet_top1", "fold_scores"),
    *("params_m", "gmacs", "saved_params_m", "saved_gmacs", "memory_mb"),
    *("latency_ms", "latency_ms_low", "latency_ms_high", "images_per_s", "images_per_s_low", "images_per_s_high"),
    *("seconds", "why"),
)


def names_of(results: Sequence[CandidateResult]) -> list[str]:
    """Names as :func:`graft.selection.report.names.name_of` gives them, told apart by depth where they are the same."""
    return unique_names([name_of(item) for item in results], [str(item.candidate.depth) for item in results])


def table(
    results: Sequence[CandidateResult],
    failed: Sequence[Failed] = (),
    controls: Sequence[Control] = (),
    by: Criterion = DEFAULT,
) -> pd.DataFrame:
    """A row per candidate, best first; then those that failed, then the controls, which have no rank.

    Scores are of the column ``metric``, as people read it; ``_se`` is the standard error of a mean over folds, ``_sd``
    the deviation of the folds. Params are in millions, GMACs in billions, memory in MB, latency in ms for one image,
    throughput in images a second (``_low`` and ``_high``: 95% interval), seconds are those spent on choosing.
    ``saved_...`` is what the cut saves against the whole network.
    """
    import pandas as pd

    best_first = ranked(results)
    rows = [
        {
            "rank": rank,
            "name": name,
            "kind": CANDIDATE,
            **_row(result, by.scorer),
            "why": why + _yet(result, why, controls, by),
        }
        for rank, (result, name, why) in enumerate(
            zip(best_first, names_of(best_first), reasons(best_first, by), strict=True), start=1
        )
    ]
    rows += [_failed_row(item, by.scorer) for item in failed]
    rows += [_control_row(item, by.scorer) for item in controls]
    metric = {"metric": by.scorer.metric.name}
    found = pd.DataFrame([row | metric for row in rows], columns=list(COLUMNS))
    return found.astype(dict.fromkeys(WHOLE, "Int64"))


def _yet(result: CandidateResult, why: str, controls: Sequence[Control], by: Criterion) -> str:
    return unbeaten(controls, result, by.scorer) if why.startswith("chosen") else ""


def _row(result: CandidateResult, scorer: Scorer) -> dict[str, Any]:
    score = {"score": round(scorer.shown(result.mean), 4), "score_se": round(standard_error(result.scores), 4)}
    return {**score, **_network(result), **_figures(result, scorer)}


def _network(result: CandidateResult) -> dict[str, Any]:
    return {
        "arch": result.candidate.arch,
        "weights": result.candidate.weights,
        "size": result.preprocessing.size,
        "fit": result.preprocessing.variant,
        "depth": result.probe.depth,
        "blocks": result.blocks,
    }


def _figures(result: CandidateResult, scorer: Scorer) -> dict[str, Any]:
    cost, whole, measured = result.cost, result.whole or result.cost, result.measured
    return {
        **_spread("finetuned", result.finetuned, scorer),
        **_spread("head", result.trained.get("extract", ()), scorer),
        **_spread("probe", result.probe.fold_scores, scorer),
        "knn": _rounded(result.knn),
        "logme": _rounded(result.logme),
        "imagenet_top1": result.published,
        "fold_scores": _folds(result.scores, scorer),
        "params_m": round(cost.params_m, 3),
        "gmacs": round(cost.gmacs, 4),
        "saved_params_m": round(whole.params_m - cost.params_m, 3),
        "saved_gmacs": round(whole.gmacs - cost.gmacs, 4),
        "memory_mb": None if measured is None else round(measured.memory_mb, 1),
        **_timing("latency_ms", None if measured is None else measured.latency_ms, 3),
        **_timing("images_per_s", None if measured is None else measured.images_per_s, 1),
        "seconds": round(result.seconds, 1),
    }


def _spread(name: str, scores: Sequence[float], scorer: Scorer) -> dict[str, float]:
    if not scores:
        return {}
    return {
        f"{name}_mean": round(scorer.shown(float(np.mean(scores))), 4),
        f"{name}_sd": round(float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0, 4),
        f"{name}_se": round(standard_error(scores), 4),
    }


def _timing(name: str, found: Timing | None, digits: int) -> dict[str, float]:
    if found is None:
        return {}
    values = {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return {key: round(value, digits) for key, value in values.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _folds(scores: Sequence[float], scorer: Scorer) -> str:
    return " ".join(f"{scorer.shown(score):.4f}" for score in scores)


def _failed_row(item: Failed, scorer: Scorer) -> dict[str, Any]:
    candidate = item.candidate
    known = {"arch": candidate.arch, "weights": candidate.weights, "size": candidate.size}
    if item.before is not None:
        # No score: it has not earned one, and a plot would show it among those that have.
        known = {**_network(item.before), **_figures(item.before, scorer), "fold_scores": None}
    name = name_of_candidate(candidate)
    return {"name": name, "kind": CANDIDATE, "seconds": round(item.seconds, 1), **known, "why": f"failed {item.reason}"}


def _control_row(item: Control, scorer: Scorer) -> dict[str, Any]:
    network = {} if item.result is None else {**_network(item.result), **_figures(item.result, scorer)}
    mean = None if item.mean is None else round(scorer.shown(item.mean), 4)
    score = {"score": mean, "score_se": round(standard_error(item.scores), 4) if item.scores else None}
    folds = _folds(item.scores, scorer)
    return {**network, "name": item.name, "kind": CONTROL, **score, "fold_scores": folds, "why": item.why}


def agreement(results: Sequence[CandidateResult], scorer: Scorer = ACCURACY) -> dict[str, Any]:
    """Content of agreement.json, see :func:`graft.selection.report.proxy_correlation.to_json`; without timings."""
    names = names_of(results)
    return to_json(agreements(results, scorer), names.__getitem__, scorer)
