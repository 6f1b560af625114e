"""MixUp and CutMix: images of a batch mixed with each other, and their labels in the same shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class BatchMixing:
    """torchvision's MixUp or CutMix, drawn from a seed of its own.

    Every image is mixed with the one before it in the batch, the first with the last; the share that an image keeps is
    drawn from Beta(alpha, alpha), once for the batch.

    mixup: H. Zhang et al., mixup: Beyond Empirical Risk Minimization, 2017, arXiv:1710.09412. CutMix: S. Yun et al.,
    CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features, 2019, arXiv:1905.04899.

    Attributes:
        kind: the name of torchvision's v2 transform.
        alpha: of the Beta distribution; small: most images keep nearly all of themselves or nearly nothing.
        changes: see :class:`graft.augmentation.transforms.TransformStep`.
    """

    kind: Literal["MixUp", "CutMix"]
    alpha: float
    changes: Mapping[str, float]

    def mix(self, images: Tensor, labels: Tensor, classes: int, seed: int) -> tuple[Tensor, Tensor]:
        """Mix the images and labels of a batch.

        The result depends on the batch and the seed alone; the global generator is left as it was.

        Args:
            images: float (n, channels, height, width), in any linear scale.
            labels: class indices (n), on any device.
            classes: how many classes there are.
            seed: in [0, 2**63).

        Returns:
            Images of the same shape, and each one's share of every class (n, classes), float32; a row sums to 1. A
            batch of one image is mixed with itself, which leaves it as it was.
        """
        import torch

        from graft.core.compat.torchvision import v2

        if not len(images):
            return images, torch.zeros(0, classes)
        transform = getattr(v2, self.kind)(alpha=self.alpha, num_classes=classes)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU as well
            mixed, shares = transform(images, labels)
        return mixed, shares
