"""The held-out table and its refusals; the tables per class, of confusion and per image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from graft.core.errors import DataError, WeightsError
from graft.evaluation.curves import MOST_POINTS, pr_table, roc_table
from graft.evaluation.held_out import HeldOutSet, read_held_out
from graft.evaluation.tables import (
    confusion,
    confusion_table,
    most_confused,
    per_class,
    per_class_table,
    predictions_table,
)
from graft.metrics.outcomes import Outcomes, class_areas
from graft.tasks.registry import CLASSIFICATION
from tests.planted_evaluation import sure_of


def _splits(folder: Path, rows: list[tuple[str, str, str | None]]) -> Path:
    table = pd.DataFrame(rows, columns=["label", "split", "group"])
    table.insert(0, "path", [f"{label}/{i}.png" for i, label in enumerate(table["label"])])
    table["fold"] = 0
    path = folder / "splits.parquet"
    table.to_parquet(path)
    return path


def test_rows_follow_the_models_order_of_classes(tmp_path: Path) -> None:
    rows = [("a", "train", "g1"), ("b", "train", "g2"), ("b", "test", "g3"), ("a", "test", "g4"), ("b", "test", "g3")]
    found = read_held_out(_splits(tmp_path, rows), ("b", "a"), CLASSIFICATION)
    assert found.paths == ("b/2.png", "a/3.png", "b/4.png")
    assert found.labels.tolist() == [0, 1, 0]
    assert found.units.tolist() == [0, 1, 0]
    assert found.n_train.tolist() == [1, 1] and found.n_test.tolist() == [2, 1]
    assert found.labels_per_class == 1 and found.straddling == 0


def test_groups_on_both_sides_are_counted(tmp_path: Path) -> None:
    rows = [("a", "train", "g1"), ("b", "train", "g2"), ("a", "test", "g1"), ("b", "test", None), ("b", "train", None)]
    assert read_held_out(_splits(tmp_path, rows), ("a", "b"), CLASSIFICATION).straddling == 1


def test_images_without_a_group_stand_alone(tmp_path: Path) -> None:
    rows = [("a", "train", None), ("b", "train", None), ("a", "test", None), ("b", "test", "g"), ("b", "test", None)]
    found = read_held_out(_splits(tmp_path, rows), ("a", "b"), CLASSIFICATION)
    assert sorted(found.units.tolist()) == [0, 1, 2]


def test_empty_test_split_is_refused(tmp_path: Path) -> None:
    path = _splits(tmp_path, [("a", "train", "g"), ("b", "train", "h")])
    with pytest.raises(DataError) as refused:
        read_held_out(path, ("a", "b"), CLASSIFICATION)
    assert refused.value.message() == (
        "the test split is empty, so nothing can be said about unseen images\n"
        f"  where: {path}\n"
        "  remedy: raise data.test_fraction or lower data.train_per_class in params.yaml, and run again"
    )


def test_model_of_other_classes_is_refused_by_name(tmp_path: Path) -> None:
    path = _splits(tmp_path, [("ant", "train", "g"), ("bee", "test", "h")])
    with pytest.raises(WeightsError) as refused:
        read_held_out(path, ("ant", "wasp"), CLASSIFICATION)
    assert refused.value.what == (
        "the fine-tuned model was made for other classes: it does not know 'bee'; it knows 'wasp', which the data "
        "has not"
    )


def test_missing_table_and_missing_column_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no table of splits"):
        read_held_out(tmp_path / "none.parquet", ("a",), CLASSIFICATION)
    pd.DataFrame({"path": ["a"], "label": ["a"], "split": ["test"], "fold": [0]}).to_parquet(tmp_path / "s.parquet")
    with pytest.raises(DataError, match="lacks 'group'"):
        read_held_out(tmp_path / "s.parquet", ("a",), CLASSIFICATION)


#: true a a a b b c c; c is never predicted, d has no test images but is predicted once.
LABELS = np.array([0, 0, 0, 1, 1, 2, 2])
NAMED = np.array([0, 0, 1, 1, 1, 1, 3])
HELD_OUT = HeldOutSet(("a", "b", "c", "d"), tuple("1234567"), LABELS, np.arange(7), np.array([5, 5, 5, 6]))


def test_figures_per_class_and_what_cannot_be_computed() -> None:
    rows = per_class(HELD_OUT, sure_of(NAMED, 4))
    a, b, c, d = rows
    assert (a.precision, a.recall, a.f1) == (1.0, pytest.approx(2 / 3), pytest.approx(0.8))
    assert (b.precision, b.recall, b.f1) == (0.5, 1.0, pytest.approx(2 / 3))
    assert (c.precision, c.recall, c.f1) == (None, 0.0, 0.0)
    assert c.reason == "no image was given this name, so no precision"
    assert (d.n_train, d.n_test, d.precision, d.recall, d.f1) == (6, 0, None, None, None)
    assert d.reason == "no test images of this class"
    text = per_class_table(rows).to_csv(index=False).splitlines()
    assert text[0] == "class,n_train,n_test,precision,recall,f1,roc_auc,average_precision"
    assert text[3].startswith("c,5,2,,0.0,0.0,0.5") and text[4] == "d,6,0,,,,,"


def test_areas_per_class_where_there_are_two_sides() -> None:
    probabilities = sure_of(NAMED, 4)
    rows = per_class(HELD_OUT, probabilities)
    assert rows[0].roc_auc == pytest.approx((2 + 1 / 2) / 3)  # two of three are above all of the rest, one ties
    assert rows[1].average_precision == pytest.approx(0.5)
    assert (rows[3].roc_auc, rows[3].average_precision) == (None, None)


def test_no_area_is_greater_than_one() -> None:
    for count in range(2, 200):
        # All of the class before all others, each at a threshold of its own: recall's steps sum to 1 + 2e-16 for some.
        scores = np.linspace(1, 0, 2 * count)
        said = Outcomes(np.repeat([0, 1], count), np.stack([scores, 1 - scores], axis=1))
        assert class_areas(said, 0)[1] <= 1, count


def test_curves_begin_and_end_in_their_corners_and_stay_small() -> None:
    rng = np.random.default_rng(0)
    n = 3000
    labels = rng.integers(0, 3, n)
    held_out = HeldOutSet(("a", "b", "c", "d"), ("x",) * n, labels, np.arange(n), np.zeros(4, dtype=np.intp))
    probabilities = rng.dirichlet(np.ones(4), n)
    roc, pr = roc_table(held_out, probabilities), pr_table(held_out, probabilities)
    assert set(roc["class"]) == set(pr["class"]) == {"a", "b", "c"}
    assert roc.groupby("class").size().max() <= MOST_POINTS >= pr.groupby("class").size().max()
    for name, curve in roc.groupby("class"):
        rates = curve[["false_positive_rate", "true_positive_rate"]].to_numpy()
        assert rates[0].tolist() == [0, 0] and rates[-1].tolist() == [1, 1], name
        assert (np.diff(rates, axis=0) >= 0).all()
        # Thinning must not change what the curve says.
        column = held_out.classes.index(str(name))
        area, wanted = (float(x[0]) for x in class_areas(Outcomes(labels, probabilities), column))
        assert np.trapezoid(rates[:, 1], rates[:, 0]) == pytest.approx(area, abs=5e-3)
        kept = pr[pr["class"] == name]
        gained = -np.diff([*kept["recall"], 0.0])
        assert np.sum(kept["precision"] * gained) == pytest.approx(wanted, abs=2e-2)
    assert pr.groupby("class")["recall"].first().tolist() == [1, 1, 1]
    alone = HeldOutSet(("a", "b"), ("x",), np.array([0]), np.arange(1), np.array([1, 1]))
    assert list(roc_table(alone, np.array([[1.0, 0.0]]))) == list(roc) and len(pr_table(alone, np.eye(2)[:1])) == 0


def test_confusion_has_true_rows_and_predicted_columns() -> None:
    counts = confusion(HELD_OUT, sure_of(NAMED, 4))
    table = confusion_table(HELD_OUT.classes, counts).set_index("label")
    assert table.loc["a", "b"] == 1 and table.loc["b", "a"] == 0 and table.loc["c", "d"] == 1
    assert table.to_numpy().sum() == 7
    assert [(x.true, x.predicted, x.count, x.share) for x in most_confused(HELD_OUT.classes, counts)] == [
        ("a", "b", 1, pytest.approx(1 / 3)),
        ("c", "b", 1, 0.5),
        ("c", "d", 1, 0.5),
    ]


def test_a_class_may_be_called_like_a_column() -> None:
    held_out = HeldOutSet(("label", "path"), ("x", "y"), np.array([0, 1]), np.arange(2), np.array([1, 1]))
    probabilities = sure_of(np.array([0, 0]), 2, 0.75)
    table = predictions_table(held_out, probabilities)
    assert list(table) == ["path", "label", "predicted", "confidence", "p_label", "p_path"]
    assert table.iloc[1].tolist() == ["y", "path", "label", 0.75, 0.75, 0.25]
    counts = confusion(held_out, probabilities)
    assert confusion_table(held_out.classes, counts).to_csv(index=False) == "label,label,path\nlabel,1,0\npath,1,0\n"
