"""Stage `finetune`: train the winner on all training images, and beside it the controls it is compared with."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict, dataclass
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
    from graft.train.advice import Advice, Evidence
    from graft.train.checkpoints import Keeper
    from graft.train.finetune import Task, Trained
    from graft.trust.settle import Settled
    from graft.zoo.preprocessing import Preprocessing

    # Which images are meant, bool (n).
    Rows = NDArray[np.bool_]

# A hold-out of fewer images than this a class says nothing; then every stage runs its full length instead.
LEAST_HELD_OUT = 2


def run(params: Params, workspace: Workspace) -> None:
    """Write the fine-tuned winner, the controls, the learning curves, and how the strategy was chosen.

    Raises:
        ConfigError: there is no such strategy.
        TrainingError: the loss is not finite.
    """
    from graft.train.curves import draw, table

    job = Job.open(params, workspace)
    rows = np.ones(len(job.data.labels), dtype=bool)
    advice = job.advice
    print(f"fine-tuning {job.winner.arch} ({job.winner.weights}) on {rows.sum()} images")
    print(f"strategy: {advice.strategy}, by {advice.chosen_by} ({advice.rule}: {advice.why})", flush=True)
    trained = job.train(advice.strategy, rows)
    with whole_folder(workspace.controls) as controls:
        runs = {"transfer": trained, **job.controls(controls, rows)}
    with whole_folder(workspace.training) as reports:
        with whole_file(reports / "curves.csv") as beside:
            table(runs).to_csv(beside, index=False)
        draw(runs, reports / "curves.svg")
        write_json(reports / "strategy.json", {**asdict(advice), "evidence": asdict(job.evidence)})
    job.save(workspace.finetuned, advice.strategy, trained, job.settle(trained))
    job.keeper.clear()


@dataclass(frozen=True)
class Job:
    """The winner, the training images, and how networks are trained.

    Attributes:
        winner: with the depth that selection took.
        blocks: how many blocks its whole network has.
        probe: cross-validated accuracy of a linear head on its frozen features; None: selection did not say.
        curve: the same after every block of the whole network; empty: selection did not say.
    """

    params: Params
    workspace: Workspace
    winner: Candidate
    data: TrainSet
    blocks: int
    probe: float | None = None
    curve: tuple[float, ...] = ()

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
        probe = chosen.get("probe", {"mean": None, "curve": ()})
        blocks, curve = chosen["blocks"], tuple(probe["curve"])
        return cls(params, workspace, winner, train_set(workspace), blocks, probe["mean"], curve)

    @property
    def depth(self) -> int:
        """The last block that is kept."""
        assert isinstance(self.winner.depth, int), "selection writes the depth it took"
        return self.winner.depth

    @property
    def evidence(self) -> Evidence:
        """What ``auto`` judges by."""
        from graft.train.advice import Evidence

        kept = self.depth + 1
        fewest = int(np.bincount(self.data.labels).min())
        return Evidence(fewest, len(self.data.classes), self.probe, self.curve[:kept], kept)

    @property
    def advice(self) -> Advice:
        """How the winner is trained; also on fewer labels, so that the curve over labels compares like with like."""
        from graft.train.advice import advise

        return advise(self.evidence, self.params.train)

    @property
    def keeper(self) -> Keeper:
        """Where the checkpoints of the networks lie until all of them are done."""
        from graft.augment.choice import choose
        from graft.train.checkpoints import Keeper

        identity = json.dumps(choose(self.params.augment).as_json())
        return Keeper(self.workspace.checkpoints / "finetune", self.params.train.checkpoint_seconds, identity)

    def candidate(self, strategy: str) -> Candidate:
        """The winner with the weights that a strategy starts from."""
        from graft.train.plan import STRATEGIES

        return dataclasses.replace(self.winner, weights="none") if STRATEGIES[strategy].blank else self.winner

    def train(self, strategy: str, rows: Rows) -> Trained:
        """Train one network on the images ``rows`` by a named strategy, or go on where that was killed."""
        from graft.determinism import derive_seed
        from graft.select.candidates import task_network
        from graft.train.finetune import finetune
        from graft.train.loop import fabric_for
        from graft.train.plan import STRATEGIES

        chosen, candidate, sources = STRATEGIES[strategy], self.candidate(strategy), self.workspace.source_models
        network = task_network(candidate, self.depth, len(self.data.classes), self.params, sources)
        settings = self.advice.settings(self.params.train)
        plan = chosen.plan(len(network.blocks), settings)
        held_out = self._held_out(rows) if chosen.stops_early else None
        seed = derive_seed(self.params.seed, "finetune", strategy)
        fabric = fabric_for(self.params.compute.device)
        task = self._task(candidate, rows, held_out, fabric.device)
        return finetune(network, plan, task, settings, seed, fabric, self.keeper)

    def _task(self, candidate: Candidate, rows: Rows, held_out: Rows | None, device: torch.device) -> Task:
        from graft.augment.choice import choose
        from graft.augment.policies import build_policy
        from graft.features.store import Store
        from graft.select.candidates import extractor_for
        from graft.train.finetune import Task

        preprocessing = self._preprocessing(candidate)
        extractor = extractor_for(self.data.images, preprocessing, Store(self.workspace.cache), device)
        policy = build_policy(choose(self.params.augment), preprocessing.geometry.size)
        return Task(extractor, self.data.labels, rows, held_out, policy, self.data.images.paths)

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
        print("training the control: the same network from scratch")
        scratch = self.train("scratch", rows)
        self.save(folder / "scratch", "scratch", scratch)
        names = ["scratch"]
        for count in self.params.train.label_counts:
            some = self._fewer(rows, count)
            if some is None:
                continue
            print(f"training both on {count} labels per class")
            for name, strategy in (("transfer", self.advice.strategy), ("scratch", "scratch")):
                names.append(f"labels-{count}-{name}")
                self.save(folder / names[-1], strategy, self.train(strategy, some))
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

        preprocessing = self._preprocessing(self.candidate(self.advice.strategy))
        images = decoded(self.data.images, preprocessing.geometry, Store(self.workspace.cache))
        splits = pd.read_parquet(self.workspace.splits, columns=["path", "group"]).set_index("path")
        units = units_of(splits["group"].reindex(list(self.data.images.paths)))
        shown = Shown(images, self.data.labels, units, preprocessing)
        return settle(trained.network, trained.watched, shown, self.params.trust, self.params.seed)

    def _preprocessing(self, candidate: Candidate) -> Preprocessing:
        from graft.select.candidates import around
        from graft.zoo.weights import preprocessing_of

        return preprocessing_of(candidate, around(self.params, self.workspace.source_models))

    def save(self, folder: Path, strategy: str, trained: Trained, settled: Settled | None = None) -> None:
        """Write a model with its provenance and, where it was settled, how far its answers are to be trusted."""
        from graft.artifact import Artifact, save_artifact
        from graft.trust.settle import NOT_SETTLED

        candidate, found = self.candidate(strategy), settled or NOT_SETTLED
        provenance = {
            "seed": self.params.seed,
            "strategy": strategy,
            "epochs": trained.epochs,
            "precision": trained.precision,
            "train_images": len(self.data.labels),
            "splits_sha256": sha256(self.workspace.splits),
        }
        artifact = Artifact(
            classes=self.data.classes,
            arch=candidate.arch,
            weights=candidate.weights,
            depth=None if self.depth == self.blocks - 1 else self.depth,
            preprocessing=self._preprocessing(candidate),
            provenance=provenance,
            trust=found.trust,
        )
        save_artifact(folder, artifact, trained.network, found.reference)


if __name__ == "__main__":
    raise SystemExit(run_stage("finetune", run, uses_torch=True))
