"""Stage `select`: cross-validate all candidates on the training images and choose one; test images stay closed."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from graft.core.files import atomic_dir, atomic_file, write_json
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.pipeline.execution.runner import run_stage
from graft.pipeline.inputs.planned import deadline_of, with_plan
from graft.pipeline.inputs.selection import selection_inputs, train_set

if TYPE_CHECKING:
    from pathlib import Path

    from graft.selection.best import Criterion
    from graft.selection.inputs import TrainSet
    from graft.selection.selection import SelectionResult


def run(params: Params, workspace: Workspace) -> None:
    """Write leaderboard, pictures and the winner into reports/selection.

    Raises:
        GraftError: every candidate failed.
        ConfigError: no candidate keeps the limits.
        DataError: a training image cannot be decoded.
    """
    from graft.augmentation.auto_policy import with_augmentation, with_candidates
    from graft.features.cache import ArrayCache
    from graft.inference.pretrained import weights_digest
    from graft.parallel.factory import mapper_for
    from graft.selection.evidence import EVIDENCE_FILE, evidence_of, write_evidence
    from graft.selection.report.names import name_of
    from graft.selection.selection import run_selection
    from graft.selection.similarity import SIMILARITY_FILE, similarity_of
    from graft.tasks.registry import find_task

    params = with_plan(params, workspace, "select")
    params = with_augmentation(with_candidates(params, workspace.augmentation), workspace.augmentation)
    store = ArrayCache(workspace.cache, params.compute.cache_gb)
    given = selection_inputs(train_set(workspace, find_task(params.data.task)), params, workspace.source_models, store)
    settings = replace(given.settings, deadline=deadline_of(params, workspace, "select"))
    given = replace(given, settings=settings)
    with mapper_for(params.compute) as mapper:
        contest = run_selection(given, say, mapper)
    winner = contest.winner
    say(f"chosen: {name_of(winner)}, cut after block {winner.probe.depth} of {winner.blocks - 1}")
    rows = evidence_of(winner, contest.results, contest.controls, given.criterion.scorer)
    for row in rows:
        say(f"evidence: {row.says()}")
    like = similarity_of(winner, given) if given.data.task.categorical else None
    if like is not None:
        say(like["says"])
    with atomic_dir(workspace.selection) as folder:
        weights = weights_digest(winner.candidate, given.settings.weights)
        write(contest, given.data, folder, weights, given.criterion)
        write_evidence(rows, folder / EVIDENCE_FILE)
        if like is not None:
            write_json(folder / SIMILARITY_FILE, like)


def say(line: str) -> None:
    """A line of the log, at once: candidates take minutes."""
    print(line, flush=True)


def write(contest: SelectionResult, data: TrainSet, folder: Path, weights: str | None, by: Criterion) -> None:
    """Everything that reports/selection holds; ``weights`` is the SHA-256 of the winner's, None for random ones."""
    from graft.selection.out_of_fold import FILE, out_of_fold_table
    from graft.selection.report import leaderboard, plots

    with atomic_file(folder / "leaderboard.csv") as beside:
        leaderboard.table(contest.results, contest.failed, contest.controls, by).to_csv(beside, index=False)
    assert contest.winner.delivers is not None, "the winner is a finalist"
    with atomic_file(folder / FILE) as beside:
        out_of_fold_table(contest.winner.out_of_fold, data).to_parquet(beside, index=False)
    write_json(folder / "agreement.json", leaderboard.agreement(contest.results, by.scorer))
    plots.draw_scores(contest.results, contest.controls, folder / "scores.svg", by.scorer)
    plots.draw_depths(contest.results, folder / "depths.svg", by.scorer)
    plots.draw_pareto(contest.results, folder / "latency.svg", by)
    winner = contest.winner
    # The finetune stage depends on this file alone: it holds no time, so that measuring again trains nothing again, and
    # the weights' hash, so that another file of the same name does.
    network = {
        **asdict(winner.candidate),
        "fit": winner.preprocessing.variant,
        "depth": winner.probe.depth,
        "blocks": winner.blocks,
    }
    chosen = {**network, "weights_sha256": weights}
    shown = by.scorer.shown
    probe = {"mean": shown(winner.probe.mean), "curve": [shown(score) for score in winner.probe.curve]}
    scores = [shown(score) for score in winner.scores]
    trained = {name: list(scores) for name, scores in winner.trained.items()}
    metric = by.scorer.metric.name
    # The control's stage depends on this one: fine-tuning by other settings, which changes scores, trains it not again.
    write_json(folder / "network.json", network)
    write_json(
        folder / "winner.json", {**chosen, "metric": metric, "cv_scores": scores, "trained": trained, "probe": probe}
    )


if __name__ == "__main__":
    raise SystemExit(run_stage("select", run, uses_torch=True))
