"""Stage `tune`: nothing is searched unless asked; what is found better is what `finetune` trains with."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from graft.core.config import load_params
from graft.core.errors import DataError
from graft.core.settings import NamedPolicy, Params, Tune
from graft.core.workspace import Workspace
from graft.parallel.mapper import SerialMapper
from graft.pipeline import tune
from graft.pipeline.execution.runner import run_stage
from graft.pipeline.inputs.selection import train_set
from graft.pipeline.inputs.winner import Winner, read_winner, winner_trainer
from graft.selection.candidate_training import CandidateTrainer
from graft.selection.inputs import TrainSet
from graft.selection.out_of_fold import FILE, read_logits
from graft.tasks.registry import CLASSIFICATION
from graft.tuning.search import Search
from graft.tuning.space import Values
from graft.tuning.trials import Trials


def best(workspace: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workspace.tuning / "best.json").read_text(encoding="utf-8"))
    return found


def searching(workspace: Workspace, **settings: Any) -> None:
    params = dataclasses.replace(load_params(workspace.params), tune=Tune(**settings))
    tune.run(params, workspace)


def plant(monkeypatch: pytest.MonkeyPatch, right: Callable[[Values], float]) -> list[Values]:
    """Let no trial be trained: its settings say which share of each fold is right. Returns what is tried."""
    tried: list[Values] = []

    def fold_logits(self: Trials, values: Values) -> Iterator[tuple[int, np.ndarray]]:
        tried.append(dict(values))
        data = self.trainer.data
        for fold in np.unique(data.folds).tolist():
            labels = data.labels[data.folds == fold]
            said = np.where(np.arange(len(labels)) < right(values) * len(labels), labels, 1 - labels)
            yield fold, 4 * np.eye(2, dtype=np.float32)[said]

    monkeypatch.setattr(Trials, "_fold_logits", fold_logits)
    return tried


def test_without_a_search_the_settings_at_hand_stay(project: Callable[..., Workspace]) -> None:
    workspace = project()
    assert best(workspace) == {
        "train": {}, "augment": {}, "reason": "no search was asked for (tune.trials: 0)", "trials": 0
    }  # fmt: skip
    assert pd.read_csv(workspace.tuning / "trials.csv").empty
    params = load_params(workspace.params)
    assert tune.with_tuned_settings(params, workspace) == params


def test_trials_are_scored_in_every_fold_and_kept(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project(strategy="finetune", epochs=1)
    searching(workspace, trials=3, search=("learning_rate", "unfreeze"))
    table = pd.read_csv(workspace.tuning / "trials.csv")
    assert table["trial"].tolist() == [0, 1, 2]
    assert [len(scores.split()) for scores in table["fold_scores"]] == [3, 3, 3]
    assert table.loc[0, ["learning_rate", "unfreeze"]].tolist() == [0.001, 0.25]
    assert table["unfreeze"].between(0.1, 1.0).all()
    assert (workspace.tuning / "tuning.svg").stat().st_size > 1000
    assert "tune: " in capfd.readouterr().out
    # Asked again for as many, nothing is tried anew: the table has the same bytes.
    before = (workspace.tuning / "trials.csv").read_bytes()
    searching(workspace, trials=3, search=("learning_rate", "unfreeze"))
    assert (workspace.tuning / "trials.csv").read_bytes() == before


def test_what_is_better_is_what_finetune_takes(
    project: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project()

    plant(monkeypatch, lambda values: 0.5 if values["weight_decay"] == 0.05 else 1.0)
    searching(workspace, trials=2, search=("weight_decay",))
    found = best(workspace)
    assert set(found["train"]) == {"weight_decay"}
    assert "had accuracy 1.000 over the folds" in found["reason"]
    params = load_params(workspace.params)
    expected = dataclasses.replace(params.train, weight_decay=found["train"]["weight_decay"])
    assert tune.with_tuned_settings(params, workspace).train == expected
    assert "settings from the search: weight_decay" in capfd.readouterr().out


def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, int]]:
    """Strategy, weight decay and fold of everything that is trained."""
    trained: list[tuple[str, float, int]] = []

    def fold_logits(
        self: CandidateTrainer, strategy: str, purpose: Any, fold: int, real: Any = CandidateTrainer.fold_logits
    ) -> Any:
        trained.append((strategy, self.settings.weight_decay, fold))
        return real(self, strategy, purpose, fold)

    monkeypatch.setattr(CandidateTrainer, "fold_logits", fold_logits)
    return trained


@pytest.mark.parametrize("killed", [False, True])
def test_what_is_better_has_the_logits_of_its_own_trial_beside_it(
    killed: bool, project: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every training image's, by the network that did not see its fold; trained once more only after a kill."""
    workspace = project({"extract": [0.9] * 3, "finetune": [0.8] * 3}, epochs=1)
    trained = counted(monkeypatch)
    # Scored as if the other settings were better than those at hand.
    monkeypatch.setattr(TrainSet, "score", lambda *asked: 0.5 if trained[-1][1] == 0.05 else 0.9)
    if killed:
        with monkeypatch.context() as patch:
            patch.setattr(tune, "write", lambda *given: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                searching(workspace, trials=2, search=("weight_decay",))
        trained.clear()
    searching(workspace, trials=2, search=("weight_decay",))
    decay = best(workspace)["train"]["weight_decay"]
    own = [("finetune", decay, fold) for fold in range(3)]
    assert trained == (own if killed else [("finetune", 0.05, fold) for fold in range(3)] + own)
    data = train_set(workspace, CLASSIFICATION)
    best_params = tune.with_tuned_settings(load_params(workspace.params), workspace)
    trainer = winner_trainer(read_winner(workspace), best_params, workspace)
    logits, places = read_logits(workspace.tuning / FILE, data, "finetune")
    assert logits.shape == (len(data.labels), 2) and places.tolist() == list(range(len(data.labels)))
    for fold in range(3):
        said = trainer.fold_logits("finetune", ("finetune",), fold)
        np.testing.assert_allclose(logits[data.folds == fold], said, rtol=1e-5)


def test_settings_at_hand_that_stay_have_no_table(
    project: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = project()
    plant(monkeypatch, lambda values: 1.0 if values["weight_decay"] == 0.05 else 0.5)
    searching(workspace, trials=2, search=("weight_decay",))
    assert best(workspace)["train"] == {} and not (workspace.tuning / FILE).exists()


@pytest.mark.slow
def test_workers_find_what_one_after_the_other_finds(project: Callable[..., Workspace]) -> None:
    """The same trials with the same scores, pruned at the same fold."""
    settings = {"trials": 6, "search": ("learning_rate",)}
    workspace = project(strategy="finetune", epochs=1)
    # A loss tells trials apart that name as many images rightly.
    params = dataclasses.replace(load_params(workspace.params), metric="log_loss")
    tune.run(dataclasses.replace(params, tune=Tune(**settings)), workspace)  # type: ignore[arg-type]
    alone = (workspace.tuning / "trials.csv").read_bytes()
    assert b"pruned" in alone
    shutil.rmtree(workspace.checkpoints)
    compute = dataclasses.replace(params.compute, mapper="processes", workers=2)
    tune.run(dataclasses.replace(params, compute=compute, tune=Tune(**settings)), workspace)  # type: ignore[arg-type]
    assert (workspace.tuning / "trials.csv").read_bytes() == alone


def test_a_better_policy_is_what_finetune_takes(
    project: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """And what `augment.policy` has is trial 0, whatever it is, and stays where nothing beats it."""
    workspace = project()
    params = load_params(workspace.params)
    seen = plant(monkeypatch, lambda values: 0.5)
    searching(workspace, trials=3, search=("policy",))
    assert seen[0] == {"policy": "as set"} and len(seen) == 3
    assert tune.with_tuned_settings(params, workspace) == params
    plant(monkeypatch, lambda values: 1.0 if values["policy"] == "mixup" else 0.5)
    searching(workspace, trials=25, search=("policy",))
    assert best(workspace)["augment"] == {"policy": "mixup"} and best(workspace)["train"] == {}
    assert tune.with_tuned_settings(params, workspace).augment.policy == (NamedPolicy("mixup"),)
    assert tune.with_tuned_settings(params, workspace).train == params.train
    assert "settings from the search: policy mixup" in capfd.readouterr().out


def test_each_trial_is_trained_with_its_policy(
    project: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = project()
    winner, trainer, params = opened(workspace)
    used: list[tuple[Any, float]] = []

    def fold_logits(self: CandidateTrainer, *given: object) -> None:
        used.append((self.augment.policy, self.settings.dropout))
        raise LookupError

    monkeypatch.setattr(CandidateTrainer, "fold_logits", fold_logits)
    for values in ({"policy": "as set", "dropout": 0.3}, {"policy": "cutmix"}):
        with pytest.raises(LookupError):
            next(tune.make_trials(winner, trainer, params, SerialMapper()).scores(values))
    assert used == [(params.augment.policy, 0.3), ((NamedPolicy("cutmix"),), params.train.dropout)]


def opened(workspace: Workspace, **changes: Any) -> tuple[Winner, CandidateTrainer, Params]:
    """What the stage resolves, by settings that are changed."""
    params = dataclasses.replace(load_params(workspace.params), **changes)
    winner = read_winner(workspace)
    return winner, winner_trainer(winner, params, workspace), params


def storage(workspace: Workspace, **changes: Any) -> Path:
    """What the search is kept in by settings that are changed."""
    found: Search = tune.make_search(*opened(workspace, **changes), workspace)
    return found.storage


def test_another_winner_or_another_setting_begins_another_search(project: Callable[..., Workspace]) -> None:
    workspace = project(weights="none")
    winner, trainer, params = opened(workspace)
    other = dataclasses.replace(winner, candidate=dataclasses.replace(winner.candidate, arch="resnet18"))
    found = {
        storage(workspace),
        tune.make_search(other, trainer, params, workspace).storage,
        storage(workspace, seed=1),
        storage(workspace, tune=Tune(search=("weight_decay",))),
    }
    assert len(found) == 4
    policies = Tune(search=("policy",))
    domains = [dataclasses.replace(params.augment, domain=name) for name in ("any", "digits")]
    same = {storage(workspace, augment=augment) for augment in domains}
    assert len(same) == 1, "the domain decides nothing where no policy is searched"
    assert len({storage(workspace, augment=augment, tune=policies) for augment in domains}) == 2
    assert storage(workspace, tune=Tune(trials=50, minutes=3.0)) in found, "more trials go on with the same search"


def test_other_weights_or_images_of_the_same_names_begin_another_search(
    project: Callable[..., Workspace], tmp_path: Path
) -> None:
    workspace = project(weights="none")
    winner, trainer, params = opened(workspace)
    own = tmp_path / "own.safetensors"
    source = workspace.source_models / f"{winner.candidate.arch}-32px" / "model.safetensors"
    source.parent.mkdir(parents=True)
    found = []
    for content in (b"one", b"other", b"one"):
        own.write_bytes(content)
        source.write_bytes(content)
        for weights in (str(own), "source"):
            other = dataclasses.replace(winner, candidate=dataclasses.replace(winner.candidate, weights=weights))
            found.append(tune.make_search(other, trainer, params, workspace).storage)
    assert found[:2] == found[4:], "the same bytes go on with the same search"
    assert len(set(found)) == 4
    data = trainer.data
    images = dataclasses.replace(data.images, digests=("0" * 64, *data.images.digests[1:]))
    changed = dataclasses.replace(trainer, data=dataclasses.replace(data, images=images))
    assert tune.make_search(winner, changed, params, workspace).storage != storage(workspace)


def test_an_unknown_name_is_refused(project: Callable[..., Workspace]) -> None:
    from graft.core.errors import ConfigError

    workspace = project()
    with pytest.raises(ConfigError, match="'momentum' cannot be searched"):
        searching(workspace, trials=1, search=("momentum",))


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_a_missing_or_damaged_result_is_named(project: Callable[..., Workspace], text: str | None) -> None:
    workspace = project()
    path = workspace.tuning / "best.json"
    if text is None:
        path.unlink()
    else:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        tune.with_tuned_settings(load_params(workspace.params), workspace)
    assert caught.value.message() == (
        f"the result of the stage tune is missing or damaged\n  where: {path}\n  remedy: run `.venv/bin/dvc repro`"
    )


def test_a_failure_leaves_the_old_result(project: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = project()
    monkeypatch.setattr(tune, "run_search", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        searching(workspace, trials=1)
    assert best(workspace)["trials"] == 0
    assert run_stage("tune", tune.run) == 0
