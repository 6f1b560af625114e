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

from graft.config import load_params
from graft.errors import DataError
from graft.select.out_of_fold import FILE, read_logits
from graft.settings import NamedPolicy, Tune
from graft.stages import tune
from graft.stages.job import Job
from graft.stages.runner import run_stage
from graft.stages.select import train_set
from graft.train.devices import fabric_for
from graft.workspace import Workspace


def best(workspace: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workspace.tuning / "best.json").read_text(encoding="utf-8"))
    return found


def searching(workspace: Workspace, **settings: Any) -> None:
    params = dataclasses.replace(load_params(workspace.params), tune=Tune(**settings))
    tune.run(params, workspace)


def test_without_a_search_the_settings_at_hand_stay(project: Callable[..., Workspace]) -> None:
    workspace = project()
    assert best(workspace) == {
        "train": {}, "augment": {}, "reason": "no search was asked for (tune.trials: 0)", "trials": 0
    }  # fmt: skip
    assert pd.read_csv(workspace.tuning / "trials.csv").empty
    params = load_params(workspace.params)
    assert tune.tuned(params, workspace) == params


def test_trials_are_scored_in_every_fold_and_kept(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project(strategy="finetune", finetune_epochs=1)
    searching(workspace, trials=3, pruner="none", search=("learning_rate", "unfreeze"))
    table = pd.read_csv(workspace.tuning / "trials.csv")
    assert table["trial"].tolist() == [0, 1, 2]
    assert [len(scores.split()) for scores in table["fold_scores"]] == [3, 3, 3]
    assert table.loc[0, ["learning_rate", "unfreeze"]].tolist() == [0.001, 0.25]
    assert table["unfreeze"].between(0.1, 1.0).all()
    assert (workspace.tuning / "tuning.svg").stat().st_size > 1000
    assert "tune: " in capfd.readouterr().out
    # Asked again for as many, nothing is tried anew: the table has the same bytes.
    before = (workspace.tuning / "trials.csv").read_bytes()
    searching(workspace, trials=3, pruner="none", search=("learning_rate", "unfreeze"))
    assert (workspace.tuning / "trials.csv").read_bytes() == before


def test_what_is_better_is_what_finetune_takes(
    project: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project()

    def scores(job: Any, values: Any, mapper: Any) -> Iterator[float]:
        yield from (0.5 if values["weight_decay"] == 0.05 else 0.9 for _ in range(3))

    monkeypatch.setattr(tune, "fold_scores", scores)
    searching(workspace, trials=2, search=("weight_decay",))
    found = best(workspace)
    assert set(found["train"]) == {"weight_decay"}
    assert "better by 40.0 points" in found["reason"]
    params = load_params(workspace.params)
    expected = dataclasses.replace(params.train, weight_decay=found["train"]["weight_decay"])
    assert tune.tuned(params, workspace).train == expected
    assert "settings from the search: weight_decay" in capfd.readouterr().out


def test_what_is_better_has_the_logits_of_its_own_networks_beside_it(
    project: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every training image's, by the network of the best settings that did not see its fold; else there is no table."""
    workspace = project({"extract": [0.9] * 3, "finetune": [0.8] * 3}, finetune_epochs=1)
    trained: list[tuple[str, float, Any]] = []

    def try_out(self: Job, strategy: str, rows: Any, real: Callable[..., Any] = Job.try_out) -> Any:
        trained.append((strategy, self.params.train.weight_decay, rows))
        return real(self, strategy, rows)

    def scores(job: Any, values: Any, mapper: Any) -> Iterator[float]:
        yield from (0.5 if values["weight_decay"] == 0.05 else gain for _ in range(3))

    monkeypatch.setattr(Job, "try_out", try_out)
    monkeypatch.setattr(tune, "fold_scores", scores)
    gain = 0.9
    searching(workspace, trials=2, search=("weight_decay",))
    decay = best(workspace)["train"]["weight_decay"]
    data = train_set(workspace)
    assert [(strategy, value) for strategy, value, _ in trained] == [("finetune", decay)] * 3
    assert [(~rows == (data.folds == fold)).all() for fold, (_, _, rows) in enumerate(trained)] == [True] * 3
    job = Job.open(tune.tuned(load_params(workspace.params), workspace), workspace, fabric_for("cpu"))
    logits = read_logits(workspace.tuning / FILE, data)
    assert logits.shape == (len(data.labels), 2) and logits.any(axis=1).all()
    for fold in range(3):
        of = data.folds == fold
        np.testing.assert_allclose(logits[of], job.logits(job.try_out("finetune", ~of), "finetune", of), rtol=1e-5)
    gain = 0.4
    workspace = project({"extract": [0.9] * 3, "finetune": [0.8] * 3}, finetune_epochs=2)
    searching(workspace, trials=2, search=("weight_decay",))
    assert best(workspace)["train"] == {} and not (workspace.tuning / FILE).exists()


@pytest.mark.slow
def test_workers_find_what_one_after_the_other_finds(project: Callable[..., Workspace]) -> None:
    """The same trials with the same scores, pruned at the same fold."""
    settings = {"trials": 6, "pruner": "halving", "search": ("learning_rate",)}
    workspace = project(strategy="finetune", finetune_epochs=1)
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
    seen: list[Any] = []

    def scores(job: Any, values: Any, mapper: Any) -> Iterator[float]:
        seen.append(values["policy"])
        yield from (0.5 if values["policy"] != "mixup" else 0.9 for _ in range(3))

    monkeypatch.setattr(tune, "fold_scores", scores)
    searching(workspace, trials=3, search=("policy",), sampler="grid")
    assert seen[0] == "as set" and len(set(seen)) == 3
    assert tune.tuned(params, workspace) == params
    searching(workspace, trials=20, search=("policy",), sampler="grid")
    assert best(workspace)["augment"] == {"policy": "mixup"} and best(workspace)["train"] == {}
    assert tune.tuned(params, workspace).augment.policy == (NamedPolicy("mixup"),)
    assert tune.tuned(params, workspace).train == params.train
    assert "settings from the search: policy mixup" in capfd.readouterr().out


def test_each_trial_is_trained_with_its_policy(
    project: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    from graft.mapper.mapper import SerialMapper

    workspace = project()
    job = Job.open(load_params(workspace.params), workspace, fabric_for("cpu"))
    used: list[tuple[Any, float]] = []

    def try_out(self: Job, strategy: str, rows: Any) -> None:
        used.append((self.params.augment.policy, self.params.train.dropout))
        raise LookupError

    monkeypatch.setattr(Job, "try_out", try_out)
    for values in ({"policy": "as set", "dropout": 0.3}, {"policy": "cutmix"}):
        with pytest.raises(LookupError):
            next(tune.fold_scores(job, values, SerialMapper()))
    assert used == [(job.params.augment.policy, 0.3), ((NamedPolicy("cutmix"),), job.params.train.dropout)]


def test_another_winner_or_another_setting_begins_another_search(project: Callable[..., Workspace]) -> None:

    workspace = project(weights="none")
    job = Job.open(load_params(workspace.params), workspace, fabric_for("cpu"))
    others = [
        job,
        dataclasses.replace(job, winner=dataclasses.replace(job.winner, arch="resnet18")),
        dataclasses.replace(job, params=dataclasses.replace(job.params, seed=1)),
        dataclasses.replace(job, params=dataclasses.replace(job.params, tune=Tune(search=("weight_decay",)))),
    ]
    assert len({tune.search_of(other).storage for other in others}) == 4
    policies = dataclasses.replace(job.params, tune=Tune(search=("policy",)))
    found = [
        tune.search_of(dataclasses.replace(job, params=dataclasses.replace(params, augment=augment))).storage
        for params in (job.params, policies)
        for augment in (dataclasses.replace(job.params.augment, domain=name) for name in ("any", "digits"))
    ]
    assert found[0] == found[1], "the domain decides nothing where no policy is searched"
    assert found[2] != found[3]
    longer = dataclasses.replace(job, params=dataclasses.replace(job.params, tune=Tune(trials=50, minutes=3.0)))
    assert tune.search_of(longer).storage == tune.search_of(job).storage, "more trials go on with the same search"


def test_other_weights_or_images_of_the_same_names_begin_another_search(
    project: Callable[..., Workspace], tmp_path: Path
) -> None:

    workspace = project(weights="none")
    job = Job.open(load_params(workspace.params), workspace, fabric_for("cpu"))
    own = tmp_path / "own.safetensors"
    source = workspace.source_models / f"{job.winner.arch}-32px" / "model.safetensors"
    source.parent.mkdir(parents=True)
    found = []
    for content in (b"one", b"other", b"one"):
        own.write_bytes(content)
        source.write_bytes(content)
        for weights in (str(own), "source"):
            winner = dataclasses.replace(job.winner, weights=weights)
            found.append(tune.search_of(dataclasses.replace(job, winner=winner)).storage)
    assert found[:2] == found[4:], "the same bytes go on with the same search"
    assert len(set(found)) == 4
    images = dataclasses.replace(job.data.images, digests=("0" * 64, *job.data.images.digests[1:]))
    changed = dataclasses.replace(job, data=dataclasses.replace(job.data, images=images))
    assert len({tune.search_of(other).storage for other in (job, changed)}) == 2


def test_an_unknown_name_is_refused(project: Callable[..., Workspace]) -> None:
    from graft.errors import ConfigError

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
        tune.tuned(load_params(workspace.params), workspace)
    assert caught.value.message() == (
        f"the result of the stage tune is missing or damaged\n  where: {path}\n  remedy: run `.venv/bin/dvc repro`"
    )


def test_a_failure_leaves_the_old_result(project: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = project()
    monkeypatch.setattr(tune, "searched", lambda job, mapper: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        searching(workspace, trials=1)
    assert best(workspace)["trials"] == 0
    assert run_stage("tune", tune.run) == 0
