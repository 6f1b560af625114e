"""Comparison with the production model by the metric of params.yaml: which is better, and the paired interval."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from graft.core.files import write_json
from graft.evaluation.compare.production import (
    MetricGain,
    ProductionComparison,
    ProductionModel,
    compare_with_production,
    in_words,
    metric_gain,
    read_comparison,
)
from graft.metrics.scorer import scorer
from graft.stats.bootstrap import Interval, Resampling
from graft.stats.paired import PairedTest

COUNT = 200
RESAMPLING = Resampling(np.arange(COUNT), 300, 0)


def models() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels; a model that is right, and one that names the same classes and is far less sure of them."""
    labels = np.arange(COUNT) % 2
    wrong = np.arange(COUNT) % 20 == 0
    sure = np.where((labels ^ wrong)[:, None] == np.arange(2), 0.9, 0.1)
    return labels, sure, 0.5 + (sure - 0.5) / 8


def test_a_smaller_loss_is_a_gain_though_accuracy_is_the_same() -> None:
    labels, sure, unsure = models()
    production = ProductionModel("0123456789ab", "resnet18", None)
    found = compare_with_production(production, labels, sure, unsure, RESAMPLING, "log_loss")
    wanted = log_loss(labels, unsure) - log_loss(labels, sure)
    written = found.to_json()
    assert written["difference"] == 0.0 and written["metric"] == "log_loss"
    assert written["gain"] == pytest.approx(wanted) and written["gain_ci95"][0] > 0
    assert f"By log loss, which selection goes by, it gains +{wanted:.3f} nats (95%: +" in str(in_words(found))
    worse = compare_with_production(production, labels, unsure, sure, RESAMPLING, "log_loss").to_json()
    assert worse["gain"] == pytest.approx(-wanted) and worse["gain_ci95"][1] < 0


def test_what_is_greater_for_better_is_a_gain_as_it_is() -> None:
    labels, sure, _ = models()
    noise = np.random.default_rng(0).dirichlet([1, 1], COUNT)
    found = metric_gain(scorer("roc_auc"), labels, sure, noise, RESAMPLING)
    wanted = roc_auc_score(labels, sure[:, 1]) - roc_auc_score(labels, noise[:, 1])
    assert found.value == pytest.approx(wanted) and found.interval is not None and found.interval.low > 0


def test_accuracy_has_its_own_test_and_no_second_one() -> None:
    labels, sure, unsure = models()
    assert (
        "gain"
        not in compare_with_production(ProductionModel("0" * 12, "a", None), labels, sure, unsure, RESAMPLING).to_json()
    )


def test_images_without_the_metric_have_no_gain() -> None:
    _, sure, unsure = models()
    found = metric_gain(scorer("roc_auc"), np.zeros(COUNT, dtype=np.intp), sure, unsure, RESAMPLING)
    assert (found.value, found.interval) == (None, None)


SHARES = st.floats(-1, 1, allow_nan=False)
INTERVALS = st.builds(lambda one, other: Interval(min(one, other), max(one, other)), SHARES, SHARES)
PAIRS = st.builds(
    PairedTest, SHARES, INTERVALS, st.integers(0, 500), st.integers(0, 500), st.none() | st.floats(1e-30, 1)
)
GAINS = st.builds(
    MetricGain,
    st.sampled_from(["log_loss", "roc_auc", "macro_f1"]).map(scorer),
    st.none() | SHARES,
    st.none() | INTERVALS,
)
TEXTS = st.none() | st.text(max_size=20)
MODELS = st.builds(ProductionModel, st.just("0123456789ab"), st.text(max_size=9), st.none(), TEXTS, TEXTS)
COMPARISONS = st.builds(
    ProductionComparison,
    MODELS,
    st.none() | st.floats(0, 1),
    st.none() | INTERVALS,
    st.none() | PAIRS,
    st.none() | GAINS,
)


@given(COMPARISONS)
def test_what_one_stage_writes_another_reads(found: ProductionComparison) -> None:
    """The same figures and the same sentence, through JSON as files have it."""
    read = read_comparison(json.loads(json.dumps(found.to_json())))
    assert read == found
    # A sentence of what was compared needs the accuracy of both.
    if found.pair is None or (found.accuracy is not None and found.interval is not None):
        assert in_words(read) == in_words(found)


def test_a_real_comparison_is_read_from_its_file_without_the_model(tmp_path: Path) -> None:
    labels, sure, unsure = models()
    production = ProductionModel("0123456789ab", "resnet18", object(), note="of other images")  # type: ignore[arg-type]
    found = compare_with_production(production, labels, sure, unsure, RESAMPLING, "log_loss")
    write_json(tmp_path / "a.json", found.to_json())
    read = read_comparison(json.loads((tmp_path / "a.json").read_text(encoding="utf-8")))
    assert read is not None and read.production.model is None
    assert read.to_json() == found.to_json() and in_words(read) == in_words(found)
    assert read_comparison(None) is None
