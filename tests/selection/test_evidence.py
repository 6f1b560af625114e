"""Cheap evidence: the winner's linear head against random weights, raw pixels and the majority class, by the fold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from graft.core.settings import Candidate
from graft.metrics.scorer import ACCURACY, Scorer, scorer
from graft.selection.candidates import CandidateResult
from graft.selection.controls import Control
from graft.selection.evidence import (
    RANDOM_WEIGHTS,
    EvidenceRow,
    evidence_of,
    read_evidence,
    write_evidence,
)

from .conftest import planted

OWN = (0.8, 0.9, 0.85, 0.95, 0.9)
FOLDS = st.lists(st.floats(0, 1, allow_nan=False), min_size=5, max_size=5)


def result(arch: str, weights: str, scores: tuple[float, ...], size: int | None = None) -> CandidateResult:
    made = planted(arch, 0.9, 1.0)
    probe = dataclasses.replace(made.probe, fold_scores=scores)
    return dataclasses.replace(made, candidate=Candidate(arch, weights, size=size), probe=probe)


def random_control(scores: tuple[float, ...]) -> Control:
    return Control("a, random weights", scores, "why", is_random=True)


def rows(
    *controls: Control, others: tuple[CandidateResult, ...] = (), by: Scorer = ACCURACY, own: tuple[float, ...] = OWN
) -> dict[str, EvidenceRow]:
    winner = result("a", "DEFAULT", own)
    return {row.rival: row for row in evidence_of(winner, [winner, *others], controls, by)}


@given(FOLDS, FOLDS)
def test_against_the_formula_written_out(own: list[float], rival: list[float]) -> None:
    """Nadeau and Bengio: J differences of variance s^2 have an error of (1/J + test/train) s^2, with J - 1 degrees."""
    found = rows(random_control(tuple(rival)), own=tuple(own))[RANDOM_WEIGHTS]
    differences = [one - other for one, other in zip(own, rival, strict=True)]
    mean = sum(differences) / 5
    variance = sum((difference - mean) ** 2 for difference in differences) / 4
    reach = stats.t(4).interval(0.95)[1] * (variance * (1 / 5 + 1 / 4)) ** 0.5
    assert found.gain == pytest.approx(mean, abs=1e-12)
    assert found.gain_ci95 == pytest.approx((mean - reach, mean + reach), abs=1e-9)
    assert (found.score, found.rival_score) == pytest.approx((np.mean(own), np.mean(rival)))


def test_there_is_a_row_for_each_control_but_not_for_a_candidate() -> None:
    pixels, majority = Control("raw pixels", (0.5,) * 5, ""), Control("majority class", (0.2,) * 5, "")
    listed = Control("first by ImageNet accuracy", (0.7,) * 5, "", is_candidate=True)
    found = rows(majority, pixels, random_control((0.4,) * 5), listed)
    assert list(found) == ["majority class", "raw pixels", RANDOM_WEIGHTS]
    assert all(row.metric == "accuracy" and row.score == pytest.approx(0.88) for row in found.values())


def test_a_control_that_could_not_be_computed_has_no_row() -> None:
    assert rows(random_control(())) == {} and rows(random_control((0.5, 0.5))) == {}


def test_a_loss_that_is_smaller_is_a_gain() -> None:
    by = scorer("log_loss")
    found = rows(random_control((-1.0,) * 5), by=by, own=(-0.2, -0.3, -0.25, -0.2, -0.3))[RANDOM_WEIGHTS]
    assert (found.score, found.rival_score, found.gain) == pytest.approx((0.25, 1.0, 0.75))
    assert found.gain_ci95[0] > 0 and found.metric == "log loss"
    far = rows(random_control((-9.0, -8.0, -9.0, -7.0, -9.0)), by=by, own=(-0.1,) * 5)[RANDOM_WEIGHTS]
    assert far.gain > 1 and far.gain_ci95[1] > far.gain, "a loss has no greatest difference"


def test_a_winner_without_weights_transferred_nothing() -> None:
    winner = result("a", "none", OWN)
    assert evidence_of(winner, [winner], [random_control((0.1,) * 5)], ACCURACY) == ()


def test_random_weights_among_the_candidates_are_the_rival_and_the_best_of_them() -> None:
    """No control is computed then; another network, or the same at another size, is none."""
    others = (
        result("a", "none", (0.3,) * 5),
        result("a", "none", (0.5,) * 5),
        result("a", "none", (0.7,) * 5, size=96),
        result("b", "none", (0.8,) * 5),
        result("a", "other", (0.8,) * 5),
    )
    assert rows(others=others)[RANDOM_WEIGHTS].rival_score == pytest.approx(0.5)
    assert rows(others=others[2:]) == {}


def test_what_is_written_is_read_and_nothing_where_there_is_no_file(tmp_path: Path) -> None:
    found = tuple(rows(random_control((0.5,) * 5), Control("raw pixels", (0.6, 0.5, 0.4, 0.6, 0.5), "")).values())
    write_evidence(found, tmp_path / "evidence.json")
    assert read_evidence(tmp_path / "evidence.json") == found
    write_evidence((), tmp_path / "none.json")
    assert read_evidence(tmp_path / "none.json") == read_evidence(tmp_path / "missing.json") == ()


def test_in_words() -> None:
    assert EvidenceRow("raw pixels", 0.9, 0.5, 0.4, (0.35, 0.45), "accuracy").says() == (
        "a linear head on the pretrained features has accuracy 0.900, on raw pixels 0.500: a gain of +0.400 "
        "(95%: +0.350 to +0.450)"
    )
