"""The gate: every condition on both sides of its limit, and a message that says which figure failed and by how much."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.core.errors import GateError
from graft.core.settings import Gate
from graft.registry.gate import check_gate, read_metrics, refusal

MAJORITY = {"class": "ok", "standing": "better", "accuracy": 0.25, "difference": 0.65, "balanced_difference": 0.64}
GOOD = {
    "accuracy": 0.9,
    "macro_f1": 0.88,
    "latency_ms": 8.0,
    "size_mb": 45.0,
    "majority": MAJORITY,
}
ALL = Gate(min_accuracy=0.9, min_macro_f1=0.88, max_latency_ms=8.0, max_size_mb=45.0)
OFF = Gate(beat_majority=False)


def reason(gate: Gate, metrics: dict) -> str:
    """The one reason for which ``metrics`` are refused."""
    (failed,) = [check.reason for check in check_gate(gate, metrics) if not check.passed]
    return failed


def test_figures_exactly_at_the_limits_pass() -> None:
    checks = check_gate(ALL, GOOD)
    assert [check.condition for check in checks] == [
        "min_accuracy",
        "min_macro_f1",
        "max_latency_ms",
        "max_size_mb",
        "beat_majority",
    ]
    assert all(check.passed and check.reason == "" for check in checks)


def test_conditions_that_are_off_ask_for_nothing() -> None:
    assert check_gate(OFF, {}) == ()
    assert check_gate(OFF, {"accuracy": 0.0}) == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"accuracy": 0.85}, "accuracy is 0.8500, 0.0500 under package.gate.min_accuracy = 0.9000"),
        ({"accuracy": 0.8999999}, "accuracy is 0.8999999, 0.0000001 under package.gate.min_accuracy = 0.9000000"),
        ({"macro_f1": 0.5}, "macro F1 is 0.5000, 0.3800 under package.gate.min_macro_f1 = 0.8800"),
        ({"latency_ms": 10.25}, "latency is 10.2 ms, 2.2 ms over package.gate.max_latency_ms = 8.0 ms"),
        ({"size_mb": 100}, "size is 100.0 MB, 55.0 MB over package.gate.max_size_mb = 45.0 MB"),
        ({"accuracy": None}, "accuracy was not measured, and package.gate.min_accuracy asks for it"),
        ({"accuracy": "0.95"}, "accuracy was not measured, and package.gate.min_accuracy asks for it"),
        ({"accuracy": True}, "accuracy was not measured, and package.gate.min_accuracy asks for it"),
        (
            {
                "majority": {
                    "class": "ok",
                    "standing": "no better",
                    "accuracy": 0.96,
                    "difference": -0.01,
                    "balanced_difference": 0.0,
                }
            },
            "it is no better than always answering 'ok', which is right on 0.9600 of the test images (accuracy "
            "-0.0100, balanced accuracy +0.0000), and package.gate.beat_majority is true",
        ),
        (
            {"majority": None},
            "it was not compared with always naming the most frequent class, and package.gate.beat_majority asks for "
            "that: run `.venv/bin/dvc repro --force --single-item score`, then `.venv/bin/dvc repro`",
        ),
    ],
)
def test_each_figure_that_fails_is_named(change: dict, expected: str) -> None:
    assert reason(ALL, {**GOOD, **change}) == expected


def test_what_transfer_is_worth_is_no_condition_of_packaging() -> None:
    """The control is trained after it; `graft promote` asks."""
    gate = Gate(refuse_if_transfer_hurts=True)
    for transfer in (None, {"verdict": "hurts"}):
        checks = check_gate(gate, {**GOOD, "transfer": transfer})
        assert not refusal(checks) and [check.condition for check in checks] == ["beat_majority"]


@pytest.mark.parametrize("standing", ["better", "too few images"])
def test_only_what_is_no_better_than_the_majority_is_refused(standing: str) -> None:
    assert not refusal(check_gate(Gate(), {"majority": {**MAJORITY, "standing": standing}}))


def test_a_hard_task_may_be_let_through() -> None:
    assert not refusal(check_gate(OFF, {"majority": {**MAJORITY, "standing": "no better"}}))


def test_refusal_names_every_figure_that_failed() -> None:
    assert refusal(check_gate(Gate(min_accuracy=0.95, max_size_mb=40.0), GOOD)) == (
        "the gate refuses this model: accuracy is 0.9000, 0.0500 under package.gate.min_accuracy = 0.9500; "
        "size is 45.0 MB, 5.0 MB over package.gate.max_size_mb = 40.0 MB"
    )


WORSE = {
    "version": "0123456789ab",
    "accuracy": 0.95,
    "difference": -0.05,
    "difference_ci95": [-0.07, -0.03],
    "p_value": 0.0004,
    "better": "production",
}


def drop(limit: float | None, version: str | None = "0123456789ab", **production: object) -> list[str]:
    """Why the condition on the production model fails; empty where it passes or is not asked."""
    metrics = {**GOOD, "production": {**WORSE, **production}}
    return [check.reason for check in check_gate(Gate(max_drop=limit), metrics, version) if not check.passed]


def test_a_model_that_is_significantly_worse_than_the_one_in_use_is_refused_by_default() -> None:
    (check,) = [
        check for check in check_gate(Gate(), {**GOOD, "production": WORSE}, "0123456789ab") if not check.passed
    ]
    assert (check.condition, check.limit, check.figure) == ("max_drop", 0.0, -0.05)
    assert check.reason == (
        "accuracy is 0.0500 under that of the production model (0123456789ab, 0.9500) on the same test images (95%: "
        "0.0300 to 0.0700, McNemar's p = 0.0004), and package.gate.max_drop = 0.0000"
    )


@pytest.mark.parametrize(
    ("limit", "change", "refused"),
    [
        (0.029, {}, True),
        (0.03, {}, False),  # the interval reaches the limit
        (0.0, {"difference_ci95": [-0.07, 0.0]}, False),
        (0.0, {"better": "new", "difference": 0.05, "difference_ci95": [0.03, 0.07]}, False),
        (0.0, {"difference": None, "difference_ci95": None, "better": None, "reason": "other classes"}, False),
        (None, {}, False),
    ],
)
def test_only_what_is_surely_worse_by_more_than_the_limit_is_refused(
    limit: float | None, change: dict, refused: bool
) -> None:
    assert bool(drop(limit, **change)) is refused


def test_the_drop_is_of_the_metric_that_selection_goes_by() -> None:
    """Accuracy may be surely better: it is log loss that was asked for."""
    by = {"metric": "log_loss", "gain": -0.2, "gain_ci95": [-0.3, -0.1]}
    better = {"difference": 0.05, "difference_ci95": [0.03, 0.07]}
    assert drop(0.0, **better, **by) == [
        "log_loss is worse by 0.2000 than that of the production model (0123456789ab) on the same test images (95%: "
        "0.1000 to 0.3000), and package.gate.max_drop = 0.0000"
    ]
    assert drop(0.1, **by) == [] and drop(0.0, **{**by, "gain_ci95": [-0.3, 0.0]}) == []
    assert drop(0.0, **{**by, "gain": None, "gain_ci95": None}) == []


@pytest.mark.parametrize(
    ("gate", "failing"),
    [
        (
            {"min_balanced_accuracy": 0.9},
            "balanced accuracy is 0.8000, 0.1000 under package.gate.min_balanced_accuracy = 0.9000",
        ),
        ({"min_roc_auc": 0.99}, "ROC AUC is 0.9500, 0.0400 under package.gate.min_roc_auc = 0.9900"),
        ({"max_log_loss": 0.3}, "log loss is 0.5000, 0.2000 over package.gate.max_log_loss = 0.3000"),
    ],
)
def test_every_metric_has_its_limit(gate: dict, failing: str) -> None:
    figures = {**GOOD, "balanced_accuracy": 0.8, "roc_auc": 0.95, "log_loss": 0.5}
    checks = check_gate(Gate(beat_majority=False, max_drop=None, **gate), figures)
    assert [check.reason for check in checks] == [failing]


def test_with_no_other_model_in_use_nothing_is_asked() -> None:
    assert drop(0.0, version=None) == []


@pytest.mark.parametrize("production", [None, {**WORSE, "version": "fedcba987654"}])
def test_a_comparison_with_another_model_is_none(production: dict | None) -> None:
    (check,) = check_gate(OFF, {**GOOD, "production": production}, "0123456789ab")
    assert not check.passed and check.reason == (
        "it was not compared with the production model (0123456789ab), and package.gate.max_drop asks for that: run "
        "`.venv/bin/dvc repro --force --single-item score`, then `.venv/bin/dvc repro`"
    )


@given(limit=st.floats(0, 1), figure=st.floats(0, 1))
def test_floor_is_a_floor(limit: float, figure: float) -> None:
    (check,) = check_gate(Gate(min_accuracy=limit, beat_majority=False), {"accuracy": figure})
    assert check.passed == (figure >= limit)


def test_figure_that_is_not_a_number_fails() -> None:
    for gate in (Gate(min_accuracy=0.1, beat_majority=False), Gate(max_latency_ms=1.0, beat_majority=False)):
        (check,) = check_gate(gate, {"accuracy": float("nan"), "latency_ms": float("nan")})
        assert not check.passed


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (None, "the model was not evaluated yet"),
        ("{", "the evaluation's figures cannot be read: "),
        ("[1]", "the evaluation's figures cannot be read: "),
    ],
)
def test_metrics_that_cannot_be_read(tmp_path: Path, text: str | None, what: str) -> None:
    path = tmp_path / "metrics.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(GateError) as refused:
        read_metrics(path)
    assert refused.value.what.startswith(what)
    assert refused.value.where == str(path)
    assert refused.value.remedy is not None
