"""Builder of torchvision's classifiers, by the table of families."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graft.modalities.image.preprocessing import ImagePreprocessor
from graft.models.zoo.builder import Builder, geometry_for, rgb_triple

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from graft.models.backbone import BackboneParts
    from graft.models.zoo.torchvision_families import Family


@dataclass(frozen=True)
class TorchvisionBuilder(Builder):
    """torchvision's classification models."""

    modality, unit = "image", "px"

    def names(self) -> list[str]:
        """Names of classifiers; not of quantized, video, detection or segmentation models."""
        from graft.core.compat.torchvision import models
        from graft.models.zoo.torchvision_families import family_row

        return [name for name in models.list_models(module=models) if family_row(name) is not None]

    def model(self, arch: str, size: int | None = None) -> Any:
        """The model with random weights and its own head of 1,000 classes, without auxiliary heads."""
        from graft.core.compat.torchvision import models

        own = size or self.preprocessing(arch, None).geometry.size
        return models.get_model(arch, weights=None, **_row(arch).options(own))

    def translate(self, arch: str, model: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """By the family's row."""
        return _row(arch).translate(model, dict(state))

    def head(self, arch: str, model: Any) -> frozenset[str]:
        """The tensors of the last module: torchvision's heads are a single layer each."""
        names = list(model.state_dict())
        last = names[-1].rpartition(".")[0]
        return frozenset(name for name in names if name.rpartition(".")[0] == last)

    def parts(self, arch: str, model: Any, size: int | None = None) -> BackboneParts:
        """Take the model apart by the family's row."""
        return _row(arch).take_apart(model)

    def preprocessing(self, arch: str, size: int | None, weights: str = "DEFAULT") -> ImagePreprocessor:
        """From the metadata of the weights, or the family's own normalisation."""
        from graft.core.compat.torchvision import models

        published = models.get_model_weights(arch).__members__
        preset = published.get(weights, published["DEFAULT"]).transforms()
        own = preset.crop_size[0]
        geometry = geometry_for(size, own, own / preset.resize_size[0], preset.interpolation.value)
        mean, std = _row(arch).normalisation or (rgb_triple(preset.mean), rgb_triple(preset.std))
        return ImagePreprocessor(geometry, mean, std)

    def takes(self, arch: str, size: int) -> bool:
        """By the family's row."""
        return size >= self.smallest(arch) and size % self.step(arch) == 0

    def smallest(self, arch: str) -> int:
        """From the family's row."""
        return _row(arch).smallest

    def step(self, arch: str) -> int:
        """From the family's row."""
        return _row(arch).step(arch)

    def published_accuracy(self, arch: str, weights: str) -> float | None:
        """On ImageNet's validation images."""
        from graft.core.compat.torchvision import models

        published = models.get_model_weights(arch).__members__
        found = published.get("DEFAULT" if weights == "pretrained" else weights)
        if found is None:
            return None
        percent = float(found.meta["_metrics"]["ImageNet-1K"]["acc@1"])
        return None if math.isnan(percent) else percent / 100  # weights of features without a classifier have none

    def published_file(self, arch: str, weights: str, may_download: bool) -> Path:
        """See :func:`graft.models.weights.downloads.torchvision_file`."""
        from graft.models.weights.downloads import torchvision_file

        return torchvision_file(arch, weights, may_download)


def _row(arch: str) -> Family:
    from graft.models.zoo.torchvision_families import family_row

    row = family_row(arch)
    assert row is not None, "names() lists only builders that have a family"
    return row
