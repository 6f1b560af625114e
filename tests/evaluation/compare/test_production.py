"""Comparison with the production model by the metric of params.yaml: which is better, and the paired interval."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from graft.evaluation.compare.production import ProductionModel, compare_with_production, in_words, metric_gain
from graft.metrics.scorer import scorer
from graft.stats.bootstrap import Resampling

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
