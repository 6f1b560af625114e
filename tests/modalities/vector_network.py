"""The fake modality's inputs and network: padded numbers with a mask, and blocks that pass both on, as text will."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from graft.core.packed_files import StoredFile, read_bytes
from graft.core.settings import Candidate
from graft.modalities.preprocessor import Baseline, Loader, Preprocessor
from graft.models.backbone import BackboneParts
from graft.models.zoo.builder import Builder

ARCH = "vector:deepset"
WIDTH = 8
Inputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class VectorLoader(Loader):
    """float32 (size,), cut or filled up."""

    size: int
    fill: float = np.nan

    def load(self, sample: StoredFile | bytes) -> NDArray[np.float32]:
        from tests.modalities.vectors import read_vector

        values = read_vector(sample if isinstance(sample, bytes) else read_bytes(sample))[: self.size]
        return np.append(values, np.full(self.size - len(values), self.fill)).astype(np.float32)

    def random_rows(self, count: int, seed: int = 0) -> NDArray[np.float32]:
        return np.random.default_rng(seed).normal(size=(count, self.size)).astype(np.float32)


@dataclass(frozen=True)
class VectorPreprocessor(Preprocessor):
    """Numbers times ``scale``, and a mask that is false where they were filled up."""

    kind: ClassVar[str] = "vector"
    unit: ClassVar[str] = "numbers"

    length: int
    scale: float

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> VectorPreprocessor:
        return cls(values["size"], values["scale"])

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "size": self.size, "scale": self.scale}

    @property
    def loader(self) -> VectorLoader:
        return VectorLoader(self.length)

    @property
    def size(self) -> int:
        return self.length

    def arrays(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {"values": np.nan_to_num(rows) * np.float32(self.scale), "mask": ~np.isnan(rows)}

    def collate(self, rows: NDArray[Any], device: torch.device | str = "cpu") -> Inputs:
        return {name: torch.from_numpy(array).to(device) for name, array in self.arrays(rows).items()}

    def describe(self) -> str:
        return f"{self.size} numbers"

    def problem(self) -> str | None:
        return None if self.scale > 0 else f"scale {self.scale}"

    @property
    def baseline(self) -> Baseline:
        return Baseline("numbers", VectorLoader(self.size, 0.0), "the numbers themselves")

    def plain_features(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        return np.nan_to_num(rows)


class Lift(nn.Module):
    """{values, mask} (n, length) -> {x (n, length, WIDTH), mask}."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, WIDTH)

    def forward(self, inputs: Inputs) -> Inputs:
        return {"x": torch.tanh(self.linear(inputs["values"][..., None])), "mask": inputs["mask"]}


class Mix(nn.Module):
    """Each place sees itself and the mean of those that are there."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.others = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, inputs: Inputs) -> Inputs:
        x = inputs["x"]
        mean = MaskedMean()(inputs)
        return {"x": x + torch.tanh(self.own(x) + self.others(mean)[:, None]), "mask": inputs["mask"]}


class MaskedMean(nn.Module):
    """{x, mask} -> (n, WIDTH): the mean over the places that are there; zeros where none is."""

    def forward(self, inputs: Inputs) -> Tensor:
        there = inputs["mask"][..., None].to(inputs["x"].dtype)
        return (inputs["x"] * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)


class VectorModel(nn.Module):
    """The library's model, before it is taken apart."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.mix, self.classifier = Lift(), nn.ModuleList([Mix(), Mix()]), nn.Linear(WIDTH, 5)


class VectorBuilder(Builder):
    """``vector:deepset``."""

    modality, unit = "vector", "numbers"

    def names(self) -> list[str]:
        return [ARCH]

    def model(self, arch: str, size: int | None = None) -> VectorModel:
        return VectorModel()

    def translate(self, arch: str, model: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(state)

    def head(self, arch: str, model: Any) -> frozenset[str]:
        return frozenset({"classifier.weight", "classifier.bias"})

    def parts(self, arch: str, model: Any, size: int | None = None) -> BackboneParts:
        example = self.preprocessing(arch, size)
        inputs = example.collate(example.loader.random_rows(1))
        return BackboneParts((model.lift, *model.mix), MaskedMean(), WIDTH, "NLC", MaskedMean(), inputs)

    def preprocessing(self, arch: str, size: int | None, weights: str = "DEFAULT") -> VectorPreprocessor:
        return VectorPreprocessor(size or 128, 0.5)

    def takes(self, arch: str, size: int) -> bool:
        return True

    def smallest(self, arch: str) -> int:
        return 1

    def step(self, arch: str) -> int:
        return 1

    def candidates(self, domain: str, size: float) -> Iterable[Candidate]:
        return [Candidate(ARCH, "none", "auto", 32)]


def write_weights(path: Path) -> Path:
    """Published weights of the fake architecture."""
    from safetensors.torch import save_file

    torch.manual_seed(7)
    save_file(VectorModel().state_dict(), path)
    return path
