"""What Prefect's page says of the verdict on transfer."""

from __future__ import annotations

from flows.artifacts import transfer_page

SURE = {"difference": 0.2, "difference_ci95": [0.1, 0.3]}


def test_verdict_comparisons_and_similarity_are_told() -> None:
    folds = {"difference": -0.05, "difference_ci95": [-0.1, 0.0]}
    text = transfer_page(
        {"verdict": "undecided", "reason": "they disagree", **SURE, "folds": folds, "similarity": {"says": "Near."}}
    )
    assert text.startswith("# undecided\n\nthey disagree\n")
    assert "| test images | +0.200 | +0.100 to +0.300 |\n" in text
    assert "| folds and seeds | -0.050 | -0.100 to +0.000 |\n" in text
    assert text.endswith("\n\nNear.\n")


def test_what_is_not_there_is_not_told() -> None:
    assert transfer_page({}) == "# not tested\n\n"
    assert "folds" not in transfer_page({"verdict": "helps", **SURE, "folds": None, "similarity": None})
