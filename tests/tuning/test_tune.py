"""The search: the current settings come first, a killed search goes on as if it had not been, luck beats nothing."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.augmentation.domains import DOMAINS, allowed_policies
from graft.core.errors import ConfigError, TrainingError, WorkerKilledError
from graft.core.settings import Train, Tune
from graft.metrics.scorer import scorer
from graft.tuning.outcome import LEAST_FOR_IMPORTANCE, choose_best, importances, plot_trials, trials_table
from graft.tuning.search import Search, TrialResult
from graft.tuning.space import AS_SET, DIMENSIONS, POLICY, Dimension, Values, search_space

NAMES = ("learning_rate", "unfreeze")


def always(finished: int) -> bool:
    return True


def search(folder: Path, trials: int = 6, seed: int = 3) -> Search:
    space = search_space(NAMES)
    settings = Tune(trials=trials, search=NAMES)
    return Search(space, space.defaults(Train()), settings, seed, folder / "tune.db")


def best_at_one_percent(values: Values) -> Iterator[float]:
    """Highest where the rate is 0.01; five folds that differ in difficulty."""
    for fold in range(5):
        yield 0.9 - 0.05 * fold - 0.1 * abs(math.log10(values["learning_rate"] / 0.01))


def test_the_settings_at_hand_are_trial_0_and_no_trial_is_lost(tmp_path: Path) -> None:
    found = search(tmp_path).run(best_at_one_percent, always)
    assert len(found) == 6
    assert found[0].values == {"learning_rate": 0.001, "unfreeze": 0.6}
    assert all(trial.whole == (len(trial.fold_scores) == 5) for trial in found)
    assert len({tuple(trial.values.items()) for trial in found}) == 6


def test_settings_at_hand_outside_the_ranges_are_tried_as_they_are(tmp_path: Path) -> None:
    """No weight decay, a rate over the range's end, and a small batch: Optuna knows none of these numbers."""
    at_hand: Values = {"weight_decay": 0.0, "learning_rate": 0.5, "batch_size": 4}
    space = search_space(tuple(at_hand))
    tried: list[Values] = []

    def objective(values: Values) -> Iterator[float]:
        tried.append(dict(values))
        yield 0.5 + float(values["weight_decay"])

    settings = Tune(trials=10)
    found = Search(space, space.defaults(dataclasses.replace(Train(), **at_hand)), settings, 3, tmp_path / "tune.db")  # type: ignore[arg-type]
    trials = found.run(objective, always)
    assert trials[0].values == tried[0] == at_hand
    assert all(space.nearest(trial.values) == trial.values for trial in trials[1:])
    assert [trial.values for trial in trials] == tried
    assert max(importances(trials, seed=0).items(), key=lambda item: item[1])[0] == "weight_decay"


@pytest.mark.parametrize("stop", [0, 4])
def test_a_search_that_goes_on_makes_the_trials_it_would_have_made(stop: int, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = search(tmp_path / "whole").run(best_at_one_percent, always)
    search(tmp_path / "parts").run(best_at_one_percent, lambda finished: finished < stop)

    def interrupted(values: Values) -> Iterator[float]:
        yield 0.5
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "parts").run(interrupted, always)
    assert search(tmp_path / "parts").run(best_at_one_percent, always) == whole


def test_a_search_that_was_killed_goes_on(tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from pathlib import Path
        from tests.tuning.test_tune import always, best_at_one_percent, search

        def objective(values):
            for fold, score in enumerate(best_at_one_percent(values)):
                done = Path({str(tmp_path)!r}) / "folds"
                done.write_text(done.read_text() + "x" if done.exists() else "x")
                if len(done.read_text()) == 13:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield score

        search(Path({str(tmp_path)!r})).run(objective, always)
    """)
    killed = subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": ":".join(sys.path)})
    assert killed.returncode == -signal.SIGKILL
    found = search(tmp_path).run(best_at_one_percent, always)
    (tmp_path / "other").mkdir()
    assert found == search(tmp_path / "other").run(best_at_one_percent, always)


GPU = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 8 GiB"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            TrainingError("the loss is nan in stage 'fine-tuning'", where="train"),
            "the loss is nan in stage 'fine-tuning'",
        ),
        (RuntimeError(GPU), "out of memory, it asked for 2.50 GiB more"),
        (MemoryError(), "out of memory"),
        (WorkerKilledError("a worker was killed", where="compute.workers"), "a worker was killed"),
    ],
)
def test_a_trial_that_cannot_be_trained_is_given_up_and_the_search_goes_on(
    error: Exception, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[Values] = []

    def diverging(values: Values) -> Iterator[float]:
        tried.append(values)
        yield 0.7
        if len(tried) == 3:
            raise error
        yield 0.8

    found = search(tmp_path, trials=5).run(diverging, always)
    assert [trial.fold_scores for trial in found] == [(0.7, 0.8)] * 2 + [(0.7, 0.0)] + [(0.7, 0.8)] * 2
    assert [trial.whole for trial in found] == [True, True, False, True, True]
    assert capsys.readouterr().err == f"warning: trial 2 is given up: {reason}\n"
    assert trials_table(choose_best(found))["state"].tolist() == ["whole"] * 2 + ["pruned"] + ["whole"] * 2


def test_settings_at_hand_that_diverge_are_refused(tmp_path: Path) -> None:
    def diverging(values: Values) -> Iterator[float]:
        raise TrainingError("the loss is nan in stage 'fine-tuning'")
        yield 0.0

    for _ in range(2):
        with pytest.raises(TrainingError, match="the loss is nan"):
            search(tmp_path).run(diverging, always)


def test_a_fault_that_is_not_the_settings_own_ends_the_search(tmp_path: Path) -> None:
    def broken(values: Values) -> Iterator[float]:
        yield 0.7
        if (tmp_path / "once").exists():
            raise RuntimeError("a fault of graft itself")
        (tmp_path / "once").touch()

    with pytest.raises(RuntimeError, match="a fault of graft itself"):
        search(tmp_path).run(broken, always)


def test_another_seed_tries_other_values(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = search(tmp_path).run(best_at_one_percent, always)
    assert first != search(tmp_path / "other", seed=4).run(best_at_one_percent, always)


def test_tpe_finds_what_is_better_and_the_budget_of_time_holds(tmp_path: Path) -> None:
    found = search(tmp_path, trials=25).run(best_at_one_percent, always)
    outcome = choose_best(found)
    assert 0.005 < outcome.values["learning_rate"] < 0.02
    assert search(tmp_path, trials=40).run(best_at_one_percent, lambda finished: False) == found


def test_hopeless_trials_are_cut_short_and_trial_0_never_is(tmp_path: Path) -> None:
    def objective(values: Values) -> Iterator[float]:
        good = values["learning_rate"] == 0.001 or values["unfreeze"] > 0.3
        for fold in range(8):
            yield (0.9 if good else 0.1) + 0.001 * fold

    found = search(tmp_path, trials=20).run(objective, always)
    assert found[0].whole
    poor = [trial for trial in found[6:] if trial.mean < 0.5]
    assert poor, "the seed has to give poor trials"
    assert not any(trial.whole for trial in poor)


@pytest.mark.parametrize("name", [name for name, row in DIMENSIONS.items() if isinstance(row, Dimension)])
def test_every_row_is_a_key_of_train_whose_default_lies_in_its_range(name: str) -> None:
    row = DIMENSIONS[name]
    assert isinstance(row, Dimension)
    assert name in Train.__dataclass_fields__
    value = search_space([name]).defaults(Train())[name]
    assert row.low <= float(value) <= row.high and row.nearest(value) == value


def test_what_the_issue_names_can_be_searched() -> None:
    """Rates, depth of unfreezing, decay, dropout, augmentation policy, batch size."""
    named = {
        "learning_rate",
        "backbone_lr_ratio",
        "unfreeze",
        "weight_decay",
        "layer_decay",
        "dropout",
        "batch_size",
    }
    assert named | {POLICY} <= set(DIMENSIONS)


@pytest.mark.parametrize("domain", DOMAINS)
def test_only_policies_that_keep_the_labels_are_tried(domain: str) -> None:
    space = search_space([POLICY], domain=domain)
    names = space.distributions()[POLICY].choices  # type: ignore[attr-defined]
    assert names[:2] == (AS_SET, "none") and set(names[1:]) <= set(allowed_policies(domain))
    assert space.defaults(Train()) == {POLICY: AS_SET}
    assert ("light" in names) == (domain in {"any", "natural", "aerial", "colour"})


def test_unknown_and_repeated_names_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        search_space(["learning_rat"])
    assert "'learning_rat' cannot be searched" in str(caught.value)
    assert "did you mean 'learning_rate'?" in str(caught.value)
    with pytest.raises(ConfigError, match="'weight_decay' is named twice"):
        search_space(["weight_decay", "weight_decay"])


def tried(*scores: float, whole: bool = True, rate: float = 0.01) -> TrialResult:
    return TrialResult({"learning_rate": rate}, scores, whole)


def test_what_is_better_by_luck_beats_nothing() -> None:
    default = tried(0.80, 0.90, 0.85, rate=0.003)
    lucky = tried(0.95, 0.80, 0.86)
    assert choose_best([default, lucky]).values == {}
    assert choose_best([default, lucky]).reason.startswith("the current settings stay: the best of 2 trials")
    better = choose_best([default, lucky, tried(0.85, 0.94, 0.90)])
    assert better.values == {"learning_rate": 0.01}
    # Paired, and corrected for training parts that overlap: root(1/3 + 1/2) of the deviation of 5, 4 and 5 points.
    assert better.reason == (
        "the best of 3 trials had accuracy 0.897 over the folds, the current settings 0.850: better by 4.7 points with "
        "a standard error of 0.5 points"
    )


def test_a_loss_that_falls_is_a_gain() -> None:
    found = choose_best([tried(-0.50, -0.60, rate=0.003), tried(-0.30, -0.41)], scorer("log_loss"))
    assert found.values == {"learning_rate": 0.01} and "better by 0.195 nats" in found.reason
    rows = trials_table(found, scorer("log_loss"))
    assert rows["score"].tolist() == [0.55, 0.355] and rows["metric"].tolist() == ["log_loss"] * 2
    assert scorer("log_loss").worst < -30 and scorer("macro_f1").worst == 0


def test_trials_that_were_cut_short_cannot_win() -> None:
    assert choose_best([tried(0.5, 0.5), tried(0.9, whole=False)]).values == {}
    assert choose_best([]).reason == "no search was asked for (tune.trials: 0)"


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=6))
def test_the_settings_at_hand_are_only_left_for_a_higher_mean(scores: list[list[float]]) -> None:
    trials = [tried(*row, rate=0.001 * (1 + number)) for number, row in enumerate(scores)]
    outcome = choose_best(trials)
    if outcome.values:
        taken = next(trial for trial in trials if trial.values == outcome.values)
        assert taken.mean > trials[0].mean
        assert taken.mean == max(trial.mean for trial in trials)


def test_the_importance_is_that_of_what_matters(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    trials = [
        TrialResult({"learning_rate": float(rate), "weight_decay": float(decay)}, (0.5 + 10 * float(rate),) * 3, True)
        for rate, decay in zip(rng.uniform(1e-3, 3e-2, 20), rng.uniform(1e-4, 0.3, 20), strict=True)
    ]
    shares = importances(trials, seed=0)
    assert shares["learning_rate"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)
    assert importances(trials[: LEAST_FOR_IMPORTANCE - 1], seed=0) == {}
    plot_trials(choose_best(trials), shares, tmp_path / "tuning.svg")
    assert "learning_rate" in (tmp_path / "tuning.svg").read_text() or (tmp_path / "tuning.svg").stat().st_size > 5000


def test_the_table_has_a_row_per_trial() -> None:
    rows = trials_table(choose_best([tried(0.5, 0.7, rate=0.003), tried(0.9, whole=False)]))
    assert rows[["trial", "score", "metric", "state", "learning_rate", "fold_scores"]].to_numpy().tolist() == [
        [0, 0.6, "accuracy", "whole", 0.003, "0.5000 0.7000"],
        [1, 0.9, "accuracy", "pruned", 0.01, "0.9000"],
    ]
    assert list(trials_table(choose_best([])).columns) == ["trial", "score", "metric", "state", "fold_scores"]
