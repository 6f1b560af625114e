"""`graft compare`: models side by side on the same images; `graft rank`: the candidates on several data sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.cli.compare import compare_models
from graft.cli.evaluate import evaluate_model
from graft.cli.rank import rank_candidates
from graft.core.errors import DataError, WeightsError
from graft.inference.artifact import Artifact, load_artifact, save_artifact
from graft.models.zoo.registry import build_network, builder_for

ARCH = "shufflenet_v2_x0_5"


def _save(folder: Path, classes: tuple[str, ...], bias: tuple[float, ...]) -> Path:
    """A model that names every image after the class of the greatest bias."""
    import torch

    torch.manual_seed(0)
    network = build_network(ARCH, len(classes), depth=1)
    head = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor(bias))
    save_artifact(folder, Artifact(classes, ARCH, "none", 1, builder_for(ARCH).preprocessing(ARCH, 32)), network)
    return folder


def test_two_models_side_by_side(
    make_classes: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_classes({"cat": 12, "dog": 2})
    cats = _save(tmp_path / "cats", ("cat", "dog"), (2.0, 0.0))
    dogs = _save(tmp_path / "dogs", ("dog", "cat"), (2.0, 0.0))
    compare_models(cats, dogs, str(data), True)
    found = json.loads(capsys.readouterr().out)
    assert (found["first"]["accuracy"], found["second"]["accuracy"]) == (12 / 14, 2 / 14)
    assert found["difference"] == pytest.approx(10 / 14)
    assert (found["mcnemar"]["first_only"], found["mcnemar"]["second_only"]) == (12, 2)
    assert found["better"] == "first" and found["mcnemar"]["p_value"] < 0.05
    for name, model in (("first", cats), ("second", dogs)):
        evaluate_model(model, str(data), True, None)
        alone = json.loads(capsys.readouterr().out)
        assert alone["accuracy_ci95"] == found[name]["accuracy_ci95"]
    compare_models(dogs, cats, str(data), False)
    said = capsys.readouterr().out
    assert (
        "The second model is better." in said
        and "−71.4 percentage points" in said
        and "p = 0.0129" in said
        and "GMACs an image" in said
    )


def test_unreadable_images_are_left_out_of_both_and_end_it_with_a_refusal(
    make_classes: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = _save(tmp_path / "one", ("cat", "dog"), (2.0, 0.0)), make_classes({"cat": 3, "dog": 3})
    (data / "cat" / "cat_000.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="1 of 6 images cannot be decoded; the figures are of the other 5"):
        compare_models(model, model, str(data), True)
    assert json.loads(capsys.readouterr().out)["n_test"] == 5


def test_a_model_and_itself_are_undecided_without_a_p(
    make_classes: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = _save(tmp_path / "one", ("cat", "dog"), (2.0, 0.0))
    assert load_artifact(model)[0].classes == ("cat", "dog")
    compare_models(model, model, str(make_classes({"cat": 3, "dog": 3})), True)
    found = json.loads(capsys.readouterr().out)
    assert (found["better"], found["difference"], found["mcnemar"]["p_value"]) == ("undecided", 0.0, None)
    assert found["mcnemar"]["reason"].startswith("there is no image on which only one of them is right")


def test_models_of_other_classes_are_refused(make_classes: Callable[..., Path], tmp_path: Path) -> None:
    one = _save(tmp_path / "one", ("cat", "dog"), (2.0, 0.0))
    two = _save(tmp_path / "two", ("cat", "owl"), (2.0, 0.0))
    with pytest.raises(WeightsError, match=r"only .*one knows 'dog'; only .*two knows 'owl'"):
        compare_models(one, two, str(make_classes({"cat": 3, "dog": 3})), True)


def test_the_candidates_on_two_data_sets(
    workspace_with: Callable[..., Path], make_classes: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace_with(zoo={"candidates": [{"arch": ARCH, "weights": "none", "size": 32}]})
    sources = [str(make_classes({"cat": 8, "dog": 8}, name=name)) for name in ("one", "two")]
    rank_candidates(sources, True)
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [item["source"] for item in found["data"]] == sources
    assert found["ranking"] == [{"name": f"{ARCH} (none, 32 px)", "mean_rank": 1.0}]
    assert err.count("linear probe accuracy 0.") + err.count("linear probe accuracy 1.") == 2
    rank_candidates(sources, False)
    assert "best on two" in capsys.readouterr().out
