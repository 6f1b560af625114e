"""Builder of timm's architectures, by timm's own metadata; valid input sizes are found by trying."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from graft.core.errors import ConfigError, WeightsError, did_you_mean
from graft.modalities.image.preprocessing import ImagePreprocessor
from graft.models.weights.bundled import BUNDLED
from graft.models.zoo.builder import Builder, geometry_for, rgb_triple

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from graft.core.settings import Candidate
    from graft.models.backbone import BackboneParts

TIMM = "timm:"
LEAST = 32
DEFAULT = 224  # of timm's networks where nothing else is said
STEPS = (1, 2, 4, 7, 8, 14, 16, 28, 32, 56, 64, 112, 128, 224)


def _timm() -> Any:
    """Import timm after the torchvision guard, because timm imports torchvision."""
    importlib.import_module("graft.core.compat.torchvision")
    return importlib.import_module("timm")


def timm_config(arch: str) -> Any:
    """timm's pretrained configuration of ``timm:<name>`` (size, mean, std, licence, where its weights are), or None."""
    return _timm().models.get_pretrained_cfg(arch.removeprefix(TIMM))


@dataclass(frozen=True)
class TimmBuilder(Builder):
    """Every architecture of timm, named ``timm:<name>``."""

    modality, unit = "image", "px"

    def names(self) -> list[str]:
        """All registered names, prefixed."""
        return list(_names())

    def has(self, arch: str) -> bool:
        """Answered for the bundled ones without importing timm and torch, which takes 3 s."""
        return arch in BUNDLED or arch in _names()

    def model(self, arch: str, size: int | None = None) -> Any:
        """The model with random weights and its own head, built for ``size`` where its class takes ``img_size``."""
        name, create = arch.removeprefix(TIMM), _timm().create_model
        if size is None or size == _own_size(arch):
            return create(name, pretrained=False)
        try:
            return create(name, pretrained=False, img_size=size)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            return create(name, pretrained=False)

    def translate(self, arch: str, model: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Apply timm's ``checkpoint_filter_fn``, which also interpolates position embeddings."""
        module = importlib.import_module(_timm().model_entrypoint(arch.removeprefix(TIMM)).__module__)
        fit = getattr(module, "checkpoint_filter_fn", None)
        if fit is None:
            return dict(state)
        try:
            return dict(fit(dict(state), model))
        except (KeyError, ValueError, RuntimeError):  # another architecture's: refused by its keys when it is loaded
            return dict(state)

    def head(self, arch: str, model: Any) -> frozenset[str]:
        """Tensors of the modules that timm's configuration names as ``classifier``."""
        named = (model.pretrained_cfg or {}).get("classifier") or ()
        modules = (named,) if isinstance(named, str) else tuple(named)
        return frozenset(name for name in model.state_dict() if name.rpartition(".")[0] in modules)

    def parts(self, arch: str, model: Any, size: int | None = None) -> BackboneParts:
        """Split the model along timm's parameter groups."""
        from graft.models.zoo.timm_families import take_apart

        return take_apart(model, size or _own_size(arch))

    def preprocessing(self, arch: str, size: int | None, weights: str = "DEFAULT") -> ImagePreprocessor:
        """From timm's ``pretrained_cfg``."""
        found = timm_config(arch)
        if found is None:
            raise ConfigError(
                f"timm tells no preprocessing for {arch!r}",
                where="zoo.candidates",
                remedy="take an architecture with published weights",
            )
        geometry = geometry_for(size, found.input_size[1], found.crop_pct or 1.0, found.interpolation)
        return ImagePreprocessor(geometry, rgb_triple(found.mean), rgb_triple(found.std))

    def takes(self, arch: str, size: int) -> bool:
        """Found by running the model, on the meta device first; the bundled ones, all convolutions, take any size."""
        return arch in BUNDLED or size == _own_size(arch) or _runs(arch, size)

    def smallest(self, arch: str) -> int:
        """The least multiple of :meth:`step` that it takes, from 32 px (the total stride of most networks)."""
        step = self.step(arch)
        low, high = -(-LEAST // step), max(1, _own_size(arch) // step)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.takes(arch, middle * step) else (middle + 1, high)
        return low * step

    def step(self, arch: str) -> int:
        """The first usual step from its own size to a size that it takes."""
        own = _own_size(arch)
        return next((step for step in STEPS if own % step == 0 and _runs(arch, own + step)), own)

    def candidates(self, domain: str, size: float) -> Sequence[Candidate]:
        """See :func:`graft.models.zoo.default_candidates.image_candidates`."""
        from graft.models.zoo.default_candidates import image_candidates

        return image_candidates(domain, size)

    def published_accuracy(self, arch: str, weights: str) -> float | None:
        """On ImageNet's validation images; timm itself carries none, and graft those of the weights it bundles."""
        package = BUNDLED.get(arch)  # timm's own weights of these names are the same ones, published once more
        return package.accuracy if package and weights in {"bundled", "pretrained", "DEFAULT"} else None

    def published_file(self, arch: str, weights: str, may_download: bool) -> Path:
        """timm names one set of weights for each architecture."""
        from graft.models.weights.downloads import timm_file

        if weights != "DEFAULT":
            raise WeightsError(
                f"timm has no weights named {weights!r}",
                where=f"zoo.candidates: {arch}",
                remedy=did_you_mean(weights, ("none", "source", "bundled", "pretrained")),
            )
        return timm_file(arch, timm_config(arch), may_download)


@cache
def _names() -> tuple[str, ...]:
    return tuple(TIMM + name for name in _timm().list_models())


@cache
def _runs(arch: str, size: int) -> bool:
    """Whether a network for images of ``size`` px can be built and run."""
    import torch

    builder = TimmBuilder()

    def run() -> None:
        model = builder.model(arch, size).eval()
        patches = getattr(getattr(model, "patch_embed", None), "patch_size", None)
        if patches and size % patches[0]:
            raise ValueError("the border of the image would fall away")
        with torch.no_grad():
            model.forward_head(model.forward_features(torch.zeros(1, 3, size, size)), pre_logits=True)

    with torch.random.fork_rng(devices=[]):
        for device in ("meta", "cpu"):  # some compute with values while they are built, for which meta has none
            try:
                with torch.device(device):
                    run()
            except Exception:  # whatever the model's code raises for a size it was not made for
                continue
            return True
    return False


def _own_size(arch: str) -> int:
    found = timm_config(arch)
    return DEFAULT if found is None or found.input_size is None else int(found.input_size[1])
