"""Finalists: activations at the boundary are as good as running what lies before it; each is trained without each fold
as the winner will be, at the depth that the fold had no say in, and the better strategy is delivered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from graft.core.compat.torchvision import models
from graft.core.deadline import Deadline
from graft.core.settings import Candidate, Params, Train
from graft.features.cache import ArrayCache
from graft.features.extraction import Extractor, frozen_part
from graft.inference.pretrained import preprocessing_of
from graft.models.backbone import Network
from graft.pipeline.inputs.selection import selection_inputs
from graft.selection.candidate_training import CandidateTrainer
from graft.selection.candidates import (
    CandidateResult,
    FoldOutputs,
    extractor_for,
    probe_candidate,
    task_network,
    with_scores,
)
from graft.selection.finalists import train_in_folds, trainer_for
from graft.selection.inputs import SelectionInputs, TrainSet
from graft.selection.out_of_fold import out_of_fold_table
from graft.selection.report.leaderboard import agreement, table
from graft.selection.rule import choose_winner, reasons
from graft.selection.selection import run_selection
from graft.training.compute.devices import fabric_for
from graft.training.finetune import FineTuningData, Trained, TrainingRun, finetune
from graft.training.strategies import STRATEGIES

from .conftest import SMALL, planted

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.fixture
def weighted(tmp_path: Path) -> dict[str, Any]:
    """The small candidate with weights of its own, so that there is something to transfer."""
    path = tmp_path / "own.safetensors"
    save_file(models.get_model("shufflenet_v2_x0_5", weights=None).state_dict(), path)
    return {**SMALL, "weights": str(path)}


@dataclass(frozen=True)
class Fit:
    """What one network was trained on, and how."""

    strategy: str
    depth: int
    rows: tuple[bool, ...]
    trained: Trained


@dataclass(frozen=True)
class Record:
    """What is trained, and which images each network is asked for."""

    fits: list[Fit] = field(default_factory=list)
    asked: list[tuple[Fit, tuple[bool, ...]]] = field(default_factory=list)


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    made, fit, logits = Record(), CandidateTrainer.fit, CandidateTrainer.logits
    fit_each = CandidateTrainer.fit_each

    def recorded(self: CandidateTrainer, strategy: str, rows: Any, *more: Any, **other: Any) -> Trained:
        trained = fit(self, strategy, rows, *more, **other)
        made.fits.append(Fit(strategy, self.depth, tuple(rows.tolist()), trained))
        return trained

    def recorded_each(self: CandidateTrainer, names: Any, rows: Any, *more: Any) -> dict[str, Trained]:
        found = fit_each(self, names, rows, *more)
        averages = [name for name in names if STRATEGIES[name].interpolates]
        made.fits.extend(Fit(name, self.depth, tuple(rows.tolist()), found[name]) for name in averages)
        return found

    def asked(self: CandidateTrainer, trained: Trained, strategy: str, rows: Any) -> Any:
        (one,) = (one for one in made.fits if one.trained is trained)
        made.asked.append((one, tuple(rows.tolist())))
        return logits(self, trained, strategy, rows)

    monkeypatch.setattr(CandidateTrainer, "fit", recorded)
    monkeypatch.setattr(CandidateTrainer, "fit_each", recorded_each)
    monkeypatch.setattr(CandidateTrainer, "logits", asked)
    return made


@pytest.fixture
def inputs(task: TrainSet, store: ArrayCache, tmp_path: Path) -> Callable[[Params], SelectionInputs]:
    return lambda params: selection_inputs(task, params, tmp_path, store)


def unsure(result: CandidateResult, fold_depths: tuple[int, ...] = ()) -> CandidateResult:
    """The result with a probe that leaves something to gain, and depths of one's choice inside the folds."""
    depths = fold_depths or result.probe.fold_depths
    return dataclasses.replace(
        result, probe=dataclasses.replace(result.probe, fold_scores=(0.5, 0.5), fold_depths=depths)
    )


class Rerun(Extractor):
    """Keeps nothing: runs what lies before the boundary over the images, one by one, whenever it is asked."""

    def activations(self, network: Network, stop: int, rows: NDArray[np.bool_]) -> torch.Tensor:
        images = self.preprocessing.normalise(torch.from_numpy(self.images[rows]))
        frozen = frozen_part(network, stop).eval()
        with torch.no_grad():
            return torch.cat([frozen(image[None]) for image in images])


def test_kept_activations_give_the_loss_of_running_the_frozen_part(
    task: TrainSet, store: ArrayCache, asked: Callable[..., Params], tmp_path: Path
) -> None:
    """The same curve from what was kept and from running it again, and the same logits of the whole network after."""
    given = selection_inputs(task, asked(SMALL), tmp_path, store)
    candidate = given.settings.candidates[0]
    network = task_network(candidate, 3, given)
    settings = Train(epochs=2, batch_size=8)
    plan = STRATEGIES["finetune"].plan(len(network.blocks), settings)
    start = plan.start
    assert start is not None and 0 < start < len(network.blocks), "something is frozen, something is trained"
    fabric = fabric_for("cpu")
    preprocessing = preprocessing_of(candidate, given.settings.weights)
    keeps = extractor_for(task.images, preprocessing, store, fabric.device)
    reruns = Rerun(keeps.images, keeps.images_key, preprocessing, ArrayCache(tmp_path / "unused"), fabric.device)
    rows = task.folds != 0
    kept, rerun = (
        finetune(network, plan, FineTuningData(extractor, task.labels, rows), TrainingRun(settings, 0, fabric))
        for extractor in (keeps, reruns)
    )
    assert len(kept.curve) == 3 and any(store.folder.rglob("*")) and not (tmp_path / "unused").exists()
    assert [point.train_loss for point in kept.curve] == pytest.approx(
        [point.train_loss for point in rerun.curve], rel=1e-3
    )
    with torch.no_grad():
        whole = kept.network(preprocessing.normalise(torch.from_numpy(keeps.images[rows])))
        ending = kept.network.classifier_from(start)(keeps.activations(network, start, rows))
    torch.testing.assert_close(ending, whole, rtol=1e-3, atol=1e-4)
    # Nothing before the boundary moved, parameters and buffers: else what was kept would be another network's.
    before, after = (frozen_part(item, start).state_dict() for item in (network, kept.network))
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_out_of_fold_logits_are_those_of_a_network_that_did_not_see_the_fold(
    task: TrainSet,
    asked: Callable[..., Params],
    weighted: dict[str, Any],
    inputs: Callable[[Params], SelectionInputs],
    record: Record,
) -> None:
    """By what was trained on, by what comes of other labels, and by the scores."""
    params = asked(weighted)
    training = inputs(params)
    probed = unsure(probe_candidate(params.zoo.candidates[0], training))
    tuned = with_scores(probed, [train_in_folds(probed, (0, 1), training)], training)
    assert set(tuned.trained) == set(tuned.out_of_fold) == {"extract", "wise_ft", "finetune"}
    assert len(record.asked) == len(record.fits) == 6
    for made, rows in record.asked:
        told = np.unique(task.folds[np.array(rows)])
        assert len(told) == 1 and np.array_equal(rows, task.folds == told), "a network is asked for a whole fold"
        assert np.array_equal(made.rows, task.folds != told), "and was trained on all the others, and nothing of it"
    for strategy, said in tuned.out_of_fold.items():
        assert said.shape == (24, 3) and said.dtype == np.float32
        whole = [np.flatnonzero(rows) for made, rows in record.asked if made.strategy == strategy]
        assert sorted(np.concatenate(whole).tolist()) == list(range(24)), "every image once"
        right = said.argmax(axis=1) == task.labels
        scores = [float(right[task.folds == fold].mean()) for fold in (0, 1)]
        assert scores == pytest.approx(list(tuned.trained[strategy]))
    # Labels of a fold's own images take no part in what is said of them.
    other = TrainSet(task.images, task.labels.copy(), task.folds, task.classes)
    other.labels[task.folds == 0] = np.roll(other.labels[task.folds == 0], 1)
    outputs = train_in_folds(probed, (0, 1), dataclasses.replace(training, data=other))
    again = with_scores(probed, [outputs], dataclasses.replace(training, data=other)).out_of_fold
    for strategy, said in tuned.out_of_fold.items():
        assert np.array_equal(again[strategy][task.folds == 0], said[task.folds == 0])
        assert not np.array_equal(again[strategy][task.folds == 1], said[task.folds == 1])


def test_a_fold_is_trained_at_the_depth_that_was_chosen_without_it(
    task: TrainSet,
    asked: Callable[..., Params],
    weighted: dict[str, Any],
    inputs: Callable[[Params], SelectionInputs],
    record: Record,
) -> None:
    """Not at the one that was chosen on all folds, in which the fold has a say; also where a worker does one fold."""
    params = asked({**weighted, "depth": 1})
    training = inputs(params)
    probed = probe_candidate(params.zoo.candidates[0], training)
    assert probed.probe.depth == 1 and probed.probe.fold_depths == (1, 1)
    probed = unsure(probed, (2, 0))
    for folds in ((1,), (0,)):
        train_in_folds(probed, folds, training)
    used = {(int(task.folds[~np.array(one.rows)][0]), one.strategy): one.depth for one in record.fits}
    strategies = ("extract", "wise_ft", "finetune")
    assert used == {(fold, name): depth for fold, depth in ((0, 2), (1, 0)) for name in strategies}
    assert len(record.fits) == len(used), "what is averaged is trained once"
    for one in record.fits:
        wanted = task_network(probed.candidate, one.depth, training)
        assert len(one.trained.network.blocks) == len(wanted.blocks), "cut there"


def test_without_weights_it_is_trained_from_scratch_where_there_is_no_other(
    task: TrainSet, asked: Callable[..., Params], inputs: Callable[[Params], SelectionInputs], record: Record
) -> None:
    """Whichever strategy is named: every block learns, batch statistics included, and none stays at random."""
    params = asked(SMALL)
    for strategy in ("auto", "extract", "finetune"):
        named = dataclasses.replace(params, train=dataclasses.replace(params.train, strategy=strategy))
        training = inputs(named)
        probed = probe_candidate(named.zoo.candidates[0], training)
        tuned = with_scores(probed, [train_in_folds(probed, (0, 1), training)], training)
        assert set(tuned.trained) == {"scratch"} and tuned.delivers is not None
        assert (tuned.delivers.strategy, tuned.delivers.why) == ("scratch", "there are no weights to transfer")
        assert tuned.scores == tuned.finetuned == tuned.trained["scratch"]
    begun = task_network(probed.candidate, record.fits[0].depth, training).state_dict()
    ended = record.fits[0].trained.network.state_dict()
    assert begun.keys() == ended.keys() and [key for key in begun if torch.equal(begun[key], ended[key])] == []


def test_without_weights_it_is_no_finalist_where_there_is_another(
    task: TrainSet, store: ArrayCache, asked: Callable[..., Params], weighted: dict[str, Any], tmp_path: Path
) -> None:
    """However many finalists are asked for, and however well it probes."""
    params = asked({**SMALL, "depth": "auto"}, {**weighted, "depth": 0}, finalists=2)
    contest = run_selection(selection_inputs(task, params, tmp_path, store), lambda line: None)
    blank, own = contest.results
    assert (blank.candidate.weights, blank.is_finalist, blank.trained, blank.delivers) == ("none", False, {}, None)
    assert own.is_finalist and "scratch" not in own.trained and contest.winner is own
    rows = table(contest.results, contest.failed)
    assert rows["why"][1] == "no finalist: it has no weights to start from"


def test_every_strategy_starts_from_the_candidate_s_weights_but_from_scratch(
    asked: Callable[..., Params], weighted: dict[str, Any], inputs: Callable[[Params], SelectionInputs]
) -> None:
    params = asked(weighted)
    own = params.zoo.candidates[0]
    trainer = trainer_for(own, 1, inputs(params))
    assert trainer.start("extract").candidate == trainer.start("finetune").candidate == own
    assert trainer.start("scratch").candidate == dataclasses.replace(own, weights="none")


def outputs_of(task: TrainSet, folds: tuple[int, ...], right: dict[str, float], sure: float = 4.0) -> FoldOutputs:
    """Logits that are right for that share of each fold's images, and as sure of it where they are wrong."""
    logits = {}
    for strategy, share in right.items():
        by_fold = {}
        for fold in folds:
            labels = task.labels[task.folds == fold]
            said = np.where(np.arange(len(labels)) < share * len(labels), labels, (labels + 1) % 3)
            by_fold[fold] = (sure * np.eye(3)[said]).astype(np.float32)
        logits[strategy] = by_fold
    return FoldOutputs(logits, 1.5)


@pytest.mark.parametrize(
    ("extract", "tuned", "delivered", "why"),
    [
        (0.5, 0.75, "finetune", "the best mean over the folds: head alone 0.500, fine-tuned 0.750"),
        (0.75, 0.5, "extract", "better on the folds by more than chance: head alone 0.750, fine-tuned 0.500"),
        (0.5, 0.5, "finetune", "the best mean over the folds: head alone 0.500, fine-tuned 0.500"),
    ],
)
def test_the_strategy_with_the_better_mean_over_the_folds_is_delivered(
    task: TrainSet,
    asked: Callable[..., Params],
    inputs: Callable[[Params], SelectionInputs],
    extract: float,
    tuned: float,
    delivered: str,
    why: str,
) -> None:
    """Of equals the cheaper; whichever worker did which fold, and in whatever order they came back."""
    probed = dataclasses.replace(planted("a", 0.9, 1.0), candidate=Candidate("a", "DEFAULT"), seconds=2.0)
    parts = [outputs_of(task, (fold,), {"extract": extract, "finetune": tuned}) for fold in (1, 0)]
    found = with_scores(probed, parts, inputs(asked(SMALL)))
    assert found.delivers is not None and (found.delivers.strategy, found.delivers.why) == (delivered, why)
    assert found.trained == {"extract": (extract, extract), "finetune": (tuned, tuned)}
    assert found.scores == found.trained[delivered] and found.mean == max(extract, tuned) and found.seconds == 5.0
    assert found.is_finalist and not probed.is_finalist and probed.scores == probed.probe.fold_scores
    for strategy, said in found.out_of_fold.items():
        for fold, part in zip((1, 0), parts, strict=True):
            assert np.array_equal(said[task.folds == fold], part.logits[strategy][fold])


def test_the_delivered_strategy_is_the_better_by_the_metric(
    task: TrainSet, asked: Callable[..., Params], inputs: Callable[[Params], SelectionInputs]
) -> None:
    """Fine-tuned is right more often, but too sure where it is wrong: it loses by log loss."""
    params = dataclasses.replace(asked(SMALL), metric="log_loss")
    probed = dataclasses.replace(planted("a", 0.9, 1.0), candidate=Candidate("a", "DEFAULT"))
    head = outputs_of(task, (0, 1), {"extract": 0.5}, sure=0.1)
    tuned = outputs_of(task, (0, 1), {"finetune": 0.75}, sure=20.0)
    found = with_scores(probed, [head, tuned], inputs(params))
    assert found.delivers is not None and found.delivers.strategy == "extract"
    # ln(1 + 2 exp(-0.1)) for the half that is right and 0.1 more for the other; 20 for each wrong one of four.
    loss = np.log(1 + 2 * np.exp(-0.1)) + 0.05
    assert found.trained["extract"] == pytest.approx((-loss, -loss)) and found.trained["finetune"][0] < -4.9
    assert found.delivers.why == f"better on the folds: head alone {loss:.3f}, fine-tuned 5.000"
    by_accuracy = with_scores(probed, [head, tuned], inputs(asked(SMALL)))
    assert by_accuracy.delivers is not None and by_accuracy.delivers.strategy == "finetune"


@pytest.fixture
def four(task: TrainSet) -> TrainSet:
    """The small task in four folds."""
    return dataclasses.replace(task, folds=np.arange(24) // 3 % 4)


def test_blocks_are_trained_without_the_first_folds_only_and_the_head_without_each(
    four: TrainSet,
    store: ArrayCache,
    asked: Callable[..., Params],
    weighted: dict[str, Any],
    tmp_path: Path,
    record: Record,
) -> None:
    """Strategies are compared on the folds that all of them were trained without, however the work is divided."""
    given = selection_inputs(four, asked(weighted, folds=4, finetune_folds=2), tmp_path, store)
    probed = unsure(probe_candidate(given.settings.candidates[0], given), (1, 1, 1, 1))
    parts = [train_in_folds(probed, part, given) for part in ((3, 1), (0, 2))]
    left_out = {(one.strategy, int(four.folds[~np.array(one.rows)][0])) for one in record.fits}
    assert left_out == {("extract", fold) for fold in range(4)} | {
        (strategy, fold) for strategy in ("finetune", "wise_ft") for fold in (0, 1)
    }
    found = with_scores(probed, parts, given)
    for strategy, said in found.out_of_fold.items():
        known = ~np.isnan(said).any(axis=1)
        assert np.array_equal(known, np.isin(four.folds, range(4 if strategy == "extract" else 2)))
        right = said.argmax(axis=1) == four.labels
        assert found.trained[strategy] == pytest.approx([float(right[four.folds == fold].mean()) for fold in (0, 1)])
    rows = out_of_fold_table(found.out_of_fold, four)
    folds = {strategy: sorted(set(rows["fold"][rows["strategy"] == strategy])) for strategy in found.trained}
    assert folds == {"extract": [0, 1, 2, 3], "finetune": [0, 1], "wise_ft": [0, 1]}


def test_a_fold_in_which_only_the_head_did_well_or_badly_does_not_choose_the_strategy(
    four: TrainSet, asked: Callable[..., Params], store: ArrayCache, tmp_path: Path
) -> None:
    """Planted: over all folds the head's mean is the better, on the common ones fine-tuning's is."""
    given = selection_inputs(four, asked(SMALL, folds=4, finetune_folds=2), tmp_path, store)
    probed = dataclasses.replace(planted("a", 0.9, 1.0), candidate=Candidate("a", "DEFAULT"))
    parts = [outputs_of(four, (0, 1), {"extract": 0.5, "finetune": 0.7}), outputs_of(four, (2, 3), {"extract": 1.0})]
    found = with_scores(probed, parts, given)
    assert found.delivers is not None and found.delivers.strategy == "finetune"
    assert found.trained["extract"] == (0.5, 0.5) and len(found.trained["finetune"]) == 2


@pytest.mark.parametrize(("strategy", "epochs", "folds"), [("auto", 1, 2), ("extract", 1, 4), ("auto", 0, 4)])
def test_finalists_are_scored_on_the_same_folds_also_where_a_head_leaves_nothing_to_gain(
    strategy: str,
    epochs: int,
    folds: int,
    four: TrainSet,
    asked: Callable[..., Params],
    store: ArrayCache,
    tmp_path: Path,
) -> None:
    """One that is tried with the head alone pairs with one that is fine-tuned; where nobody is, all folds count."""
    params = asked(SMALL, folds=4, finetune_folds=2)
    params = dataclasses.replace(params, train=dataclasses.replace(params.train, strategy=strategy, epochs=epochs))
    given = selection_inputs(four, params, tmp_path, store)
    sure, other = (
        dataclasses.replace(planted(name, 0.9, 1.0), candidate=Candidate(name, "DEFAULT")) for name in ("sure", "other")
    )
    perfect = with_scores(sure, [outputs_of(four, (0, 1, 2, 3), {"extract": 1.0})], given)
    assert len(perfect.scores) == folds
    if folds == 2:
        parts = [
            outputs_of(four, (0, 1), {"extract": 0.5, "finetune": 0.7}),
            outputs_of(four, (2, 3), {"extract": 0.5}),
        ]
        tuned = with_scores(other, parts, given)
        assert len(tuned.scores) == len(perfect.scores)
        assert choose_winner([tuned, perfect]) is perfect and "behind the best" in reasons([tuned, perfect])[0]


def test_a_finalist_for_which_the_time_was_up_has_the_head_alone_and_says_so(
    four: TrainSet,
    store: ArrayCache,
    asked: Callable[..., Params],
    weighted: dict[str, Any],
    tmp_path: Path,
) -> None:
    given = selection_inputs(four, asked(weighted, folds=4, finetune_folds=2), tmp_path, store)
    late = dataclasses.replace(given, settings=dataclasses.replace(given.settings, deadline=Deadline.after(-1)))
    probed = unsure(probe_candidate(given.settings.candidates[0], given), (1, 1, 1, 1))
    found = with_scores(probed, [train_in_folds(probed, (0, 1, 2, 3), late)], late)
    assert set(found.trained) == set(found.out_of_fold) == {"extract"} and len(found.scores) == 2
    assert found.delivers is not None and found.delivers.strategy == "extract"
    assert found.delivers.why.endswith("; the time limit passed before blocks were trained as often as was planned")


def test_the_same_contest_gives_the_same_figures_but_for_times(
    task: TrainSet, asked: Callable[..., Params], tmp_path: Path
) -> None:
    params = asked({**SMALL, "depth": "auto"}, {**SMALL, "depth": 0}, finalists=2)
    first, second = (
        run_selection(selection_inputs(task, params, tmp_path, ArrayCache(tmp_path / name)), lambda line: None)
        for name in ("one", "two")
    )
    timed = [name for name in table(first.results).columns if name.startswith(("latency", "images_per", "seconds"))]
    assert len(timed) == 7
    rows = [table(item.results, item.failed, item.controls).drop(columns=timed) for item in (first, second)]
    assert rows[0].equals(rows[1])
    assert agreement(first.results) == agreement(second.results)
    frames = [out_of_fold_table(item.winner.out_of_fold, task) for item in (first, second)]
    assert frames[0].equals(frames[1])
