"""Stage `finetune`: train the winner on all training images, and beside it the controls it is compared with."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.errors import DataError
from graft.files import sha256, whole_file, whole_folder, write_json
from graft.settings import Candidate, Params
from graft.stages.runner import run_stage
from graft.stages.select import train_set
from graft.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from graft.select.candidates import TrainSet
    from graft.train.finetune import Task, Trained
    from graft.trust.settle import Settled
    from graft.zoo.preprocessing import Preprocessing

    # Which images are meant, bool (n).
    Rows = NDArray[np.bool_]

# A hold-out of fewer images than this a class says nothing; then every stage runs its full length instead.
LEAST_HELD_OUT = 2


def run(params: Params, workspace: Workspace) -> None:
    """Write the fine-tuned winner, the controls and the learning curves.

    Raises:
        TrainingError: the loss is not finite.
    """
    from graft.train.curves import draw, table

    job = Job.open(params, workspace)
    rows = np.ones(len(job.data.labels), dtype=bool)
    print(f"fine-tuning {job.winner.arch} ({job.winner.weights}) on {rows.sum()} images")
    trained = job.train(job.winner, "staged", rows)
    with whole_folder(workspace.controls) as controls:
        runs = {"transfer": trained, **job.controls(controls, rows)}
    with whole_folder(workspace.training) as reports:
        with whole_file(reports / "curves.csv") as beside:
            table(runs).to_csv(beside, index=False)
        draw(runs, reports / "curves.svg")
    job.save(workspace.finetuned, job.winner, "staged", trained, job.settle(trained))


@dataclass(frozen=True)
class Job:
    """The winner, the training images, how many blocks its whole network has, and how networks are trained."""

    params: Params
    workspace: Workspace
    winner: Candidate
    data: TrainSet
    blocks: int

    @classmethod
    def open(cls, params: Params, workspace: Workspace) -> Job:
        """Read what selection chose."""
        path = workspace.selection / "winner.json"
        try:
            chosen = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError("no candidate was chosen yet", where=path, remedy="run `.venv/bin/dvc repro`") from None
        names = [field.name for field in dataclasses.fields(Candidate)]
        winner = Candidate(**{name: chosen[name] for name in names})
        return cls(params, workspace, winner, train_set(workspace), chosen["blocks"])

    def train(self, candidate: Candidate, strategy: str, rows: Rows) -> Trained:
        """Train one network on the images ``rows`` by a named strategy."""
        from graft.determinism import derive_seed
        from graft.select.candidates import task_network
        from graft.train.finetune import finetune
        from graft.train.loop import fabric_for
        from graft.train.plan import STRATEGIES

        assert isinstance(candidate.depth, int), "selection writes the depth it took"
        sources = self.workspace.source_models
        network = task_network(candidate, candidate.depth, len(self.data.classes), self.params, sources)
        chosen = STRATEGIES[strategy]
        plan = chosen.plan(len(network.blocks), self.params.train)
        held_out = self._held_out(rows) if chosen.stops_early else None
        seed = derive_seed(self.params.seed, "finetune", strategy)
        fabric = fabric_for(self.params.compute.device)
        return finetune(
            network, plan, self._task(candidate, rows, held_out, fabric.device), self.params.train, seed, fabric
        )

    def _task(self, candidate: Candidate, rows: Rows, held_out: Rows | None, device: torch.device) -> Task:
        from graft.augment.choice import choose
        from graft.augment.policies import build_policy
        from graft.features.store import Store
        from graft.select.candidates import extractor_for
        from graft.train.finetune import Task

        preprocessing = self._preprocessing(candidate)
        extractor = extractor_for(self.data.images, preprocessing, Store(self.workspace.cache), device)
        policy = build_policy(choose(self.params.augment), preprocessing.geometry.size)
        return Task(extractor, self.data.labels, rows, held_out, policy)

    def _held_out(self, rows: Rows) -> Rows | None:
        """The first fold of the rows: stratified and grouped like all folds. None where it would be too small."""
        held_out = rows & (self.data.folds == 0)
        least = np.bincount(self.data.labels[held_out], minlength=len(self.data.classes)).min()
        return held_out if least >= LEAST_HELD_OUT else None

    def controls(self, folder: Path, rows: Rows) -> dict[str, Trained]:
        """Train and save what the winner is compared with; returns those that belong into the learning curves."""
        if not self.params.train.control:
            write_json(folder / "controls.json", [])
            return {}
        blank = dataclasses.replace(self.winner, weights="none")
        print("training the control: the same network from scratch")
        scratch = self.train(blank, "scratch", rows)
        self.save(folder / "scratch", blank, "scratch", scratch)
        names = ["scratch"]
        for count in self.params.train.label_counts:
            some = self._fewer(rows, count)
            if some is None:
                continue
            print(f"training both on {count} labels per class")
            for name, candidate, strategy in (("transfer", self.winner, "staged"), ("scratch", blank, "scratch")):
                names.append(f"labels-{count}-{name}")
                self.save(folder / names[-1], candidate, strategy, self.train(candidate, strategy, some))
        write_json(folder / "controls.json", names)
        return {"scratch": scratch}

    def _fewer(self, rows: Rows, count: int) -> Rows | None:
        """``count`` images of each class, the same for both sides; None where a class has no more than that."""
        from graft.determinism import derive_seed

        random = np.random.default_rng(derive_seed(self.params.seed, "labels"))
        some = np.zeros_like(rows)
        for label in range(len(self.data.classes)):
            of_class = np.flatnonzero(rows & (self.data.labels == label))
            if len(of_class) <= count:
                return None
            # The same order for every count, so that the smaller sets are parts of the larger ones.
            some[random.permutation(of_class)[:count]] = True
        return some

    def settle(self, trained: Trained) -> Settled:
        """How far the winner's answers are to be trusted, from the training images that were held out."""
        import pandas as pd

        from graft.features.images import decoded
        from graft.features.store import Store
        from graft.trust.settle import Shown, settle
        from graft.trust.units import units_of

        preprocessing = self._preprocessing(self.winner)
        images = decoded(self.data.images, preprocessing.geometry, Store(self.workspace.cache))
        splits = pd.read_parquet(self.workspace.splits, columns=["path", "group"]).set_index("path")
        units = units_of(splits["group"].reindex(list(self.data.images.paths)))
        shown = Shown(images, self.data.labels, units, preprocessing)
        return settle(trained.network, trained.watched, shown, self.params.trust, self.params.seed)

    def _preprocessing(self, candidate: Candidate) -> Preprocessing:
        from graft.select.candidates import around
        from graft.zoo.weights import preprocessing_of

        return preprocessing_of(candidate, around(self.params, self.workspace.source_models))

    def save(
        self, folder: Path, candidate: Candidate, strategy: str, trained: Trained, settled: Settled | None = None
    ) -> None:
        """Write a model with its provenance and, where it was settled, how far its answers are to be trusted."""
        from graft.artifact import Artifact, save_artifact
        from graft.trust.settle import NOT_SETTLED

        assert isinstance(candidate.depth, int)
        provenance = {
            "seed": self.params.seed,
            "strategy": strategy,
            "epochs": trained.epochs,
            "train_images": len(self.data.labels),
            "splits_sha256": sha256(self.workspace.splits),
        }
        depth = None if candidate.depth == self.blocks - 1 else candidate.depth
        found = settled or NOT_SETTLED
        artifact = Artifact(
            self.data.classes,
            candidate.arch,
            candidate.weights,
            depth,
            self._preprocessing(candidate),
            provenance=provenance,
            trust=found.trust,
        )
        save_artifact(folder, artifact, trained.network, found.reference)


if __name__ == "__main__":
    raise SystemExit(run_stage("finetune", run, uses_torch=True))
