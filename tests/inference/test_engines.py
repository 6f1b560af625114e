"""The engines give the same answers, and the table chooses among them."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graft.core.errors import WeightsError
from graft.inference import engines
from graft.inference.engines import ENGINES, QUICK_START, EngineSpec, choose_engine
from graft.inference.predictor import Predictor
from graft.inference.served_model import ServedModel
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor

three = st.tuples(*[st.floats(0.01, 0.99) for _ in range(3)])


@given(mean=three, std=three, seed=st.integers(0, 1000), count=st.integers(1, 3), size=st.integers(1, 9))
def test_normalising_without_torch_gives_the_same_bits(
    mean: tuple[float, float, float], std: tuple[float, float, float], seed: int, count: int, size: int
) -> None:
    preprocessing = ImagePreprocessor(Geometry(size, 1.0, "bilinear"), mean, std)
    images = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    wanted = preprocessing.normalise(torch.from_numpy(images)).contiguous().numpy()
    found = preprocessing.normalise_array(images)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, wanted)


def on_cpu(name: str) -> list[EngineSpec]:
    return [spec for spec in ENGINES if (spec.name, spec.device) == (name, "cpu")]


def usable(folder: Path) -> list[str]:
    return sorted({spec.name for spec in ENGINES if spec.why_not(folder) is None and spec.device == "cpu"})


@pytest.mark.parametrize("name", ["onnxruntime", "torch"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_engine_answers_as_evaluation_does(whole: Path, name: str, count: int) -> None:
    assert usable(whole) == ["onnxruntime", "torch"], "an engine without a test"
    images = list(np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))
    model = ServedModel.load(whole, engines=on_cpu(name))
    said, wanted = model.predict_batch(images), Predictor.load(whole).predict_batch(images)
    assert model.spec.name == name
    np.testing.assert_allclose(said.outputs, wanted.outputs, atol=1e-6)
    assert said.novelty is not None and wanted.novelty is not None
    # A distance near zero is a small difference of large numbers.
    np.testing.assert_allclose(said.novelty, wanted.novelty, atol=2e-3)
    assert model.predict_batch([]).outputs.shape == (0, 3)
    np.testing.assert_array_equal(model.abstains(said.outputs), Predictor.load(whole).abstains(wanted.outputs))


def missing(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """As if these were not installed."""
    found = importlib.util.find_spec
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None if name in modules else found(name))


def test_what_is_chosen(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_GPU", tmp_path / "no gpu")
    assert choose_engine(whole).name == choose_engine(whole, QUICK_START).name == "onnxruntime"
    assert choose_engine(tmp_path).name == "torch"  # no ONNX file
    with monkeypatch.context() as patch:
        missing(patch, "torch")
        assert choose_engine(whole).name == "onnxruntime"
    missing(monkeypatch, "onnxruntime")
    assert choose_engine(whole).name == "torch"


def test_torch_is_chosen_where_there_is_a_gpu(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_GPU", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_engine(whole).device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (choose_engine(whole).name, choose_engine(whole).device) == ("torch", "cuda")
    assert choose_engine(whole, QUICK_START).name == "onnxruntime"
    missing(monkeypatch, "torch")
    assert choose_engine(whole).device == "cpu"


def test_nothing_can_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, "torch")
    with pytest.raises(WeightsError) as refused:
        choose_engine(tmp_path)
    assert str(refused.value) == (
        "nothing here can run this model (torch on cuda: torch is not installed; onnxruntime on cpu: there is no "
        "model.onnx beside the model; torch on cpu: torch is not installed)\n"
        f"  where: {tmp_path}\n"
        "  remedy: package it where onnxruntime and onnxscript are installed, or install torch, torchvision and timm"
    )


@pytest.mark.parametrize("name", ["onnxruntime", "torch"])
def test_engines_may_be_asked_from_several_threads(whole: Path, name: str) -> None:
    model = ServedModel.load(whole, engines=on_cpu(name))
    images = list(np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8))
    wanted = [model.predict_batch([image]).outputs for image in images]
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda image: model.predict_batch([image]).outputs, images))
    np.testing.assert_allclose(said, wanted, atol=1e-6)
