"""Stage `select`: cross-validate all candidates on the training images and choose one; test images stay closed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from graft.files import whole_file, whole_folder, write_json
from graft.settings import Params
from graft.stages.runner import run_stage
from graft.workspace import Workspace

if TYPE_CHECKING:
    from graft.select.candidates import TrainSet


def run(params: Params, workspace: Workspace) -> None:
    """Write leaderboard, pictures and the winner into reports/selection.

    Raises:
        ConfigError: a candidate that cannot be built.
        WeightsError: a candidate's weights that cannot be had.
    """
    from graft.features.store import Store
    from graft.select import leaderboard
    from graft.select.candidates import finetune_in_folds, probe_candidate
    from graft.select.rule import choose, finalists
    from graft.select.similarity import SIMILARITY_FILE, similarity_of

    data, store = train_set(workspace), Store(workspace.cache, params.compute.cache_gb)
    results = []
    for candidate in params.zoo.candidates:
        results.append(probe_candidate(candidate, data, params, workspace.source_models, store))
        print(f"{leaderboard.name_of(results[-1])}: probe {results[-1].probe.mean:.3f}", flush=True)
    for result in finalists(results, params.select.finalists):
        place = results.index(result)
        results[place] = finetune_in_folds(result, data, params, workspace.source_models, store)
        print(f"{leaderboard.name_of(result)}: fine-tuned {results[place].mean:.3f}", flush=True)
    winner = choose(results)
    print(f"chosen: {leaderboard.name_of(winner)}, cut after block {winner.probe.depth} of {winner.blocks - 1}")
    with whole_folder(workspace.selection) as folder:
        with whole_file(folder / "leaderboard.csv") as beside:
            leaderboard.table(results).to_csv(beside, index=False)
        leaderboard.draw_scores(results, folder / "scores.svg")
        leaderboard.draw_depths(results, folder / "depths.svg")
        chosen = {**asdict(winner.candidate), "depth": winner.probe.depth, "blocks": winner.blocks}
        like = similarity_of(winner, data, params, workspace.source_models, store)
        write_json(folder / SIMILARITY_FILE, like)
        print(like["says"])
        probe = {"mean": winner.probe.mean, "curve": list(winner.probe.curve)}
        write_json(folder / "winner.json", {**chosen, "cv_scores": list(winner.scores), "probe": probe})


def train_set(workspace: Workspace) -> TrainSet:
    """The training rows of the splits, in a fixed order, with the hashes that the manifest holds."""
    import pandas as pd

    from graft.features.images import ImageSet
    from graft.select.candidates import TrainSet

    splits = pd.read_parquet(workspace.splits)
    digests = pd.read_parquet(workspace.manifest, columns=["path", "sha256"])
    rows = splits[splits["split"] == "train"].merge(digests, on="path", how="left").sort_values("path")
    classes = tuple(sorted(splits["label"].unique()))
    images = ImageSet(workspace.raw, tuple(rows["path"]), tuple(rows["sha256"]))
    # Copies: what pandas lends is not writable, which torch warns of.
    labels = rows["label"].map({name: index for index, name in enumerate(classes)}).to_numpy("int64", copy=True)
    return TrainSet(images, labels, rows["fold"].to_numpy("int64", copy=True), classes)


if __name__ == "__main__":
    raise SystemExit(run_stage("select", run, uses_torch=True))
