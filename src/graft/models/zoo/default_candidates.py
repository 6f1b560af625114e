"""``zoo.candidates: auto`` for images: candidates for a domain and image size, available offline."""

from __future__ import annotations

from graft.core.settings import Candidate

LITE0 = "timm:tf_efficientnet_lite0"
# What is trained on rendered glyphs, at 32 px. With 5 labels a class of the digits its probe was right on 0.94 of new
# images, those of ResNet-18 (twice as dear), MobileNetV3-small and ShuffleNet on 0.90, 0.80 and 0.64 at most.
GLYPH_NET = "timm:resnet10t"
# The side at which the bundled weights were trained, and the least: of CIFAR-10 (32 px, 50 images a class) the probe is
# right on 0.616 at 64 px, 0.718 at 128 and 0.746 at 224, fine-tuned 0.671 at 64 and 0.774 at 128.
_MOST, _LEAST, _STEP = 224, 128, 32


def image_candidates(domain: str, side: float) -> tuple[Candidate, ...]:
    """Candidates for a domain of :mod:`graft.augmentation.domains`.

    Small images are enlarged to 128 px, for accuracy, and no further, so that a CPU is quick; of characters there is a
    source nearer than ImageNet, the rendered glyphs.

    Args:
        domain: what the images are.
        side: median of their shorter sides, pixels.
    """
    if domain == "digits":
        return (
            Candidate(GLYPH_NET, "source", "auto", 32),
            Candidate(LITE0, "bundled", "auto", 64),
            Candidate(LITE0, "none", "auto", 64),
        )
    size = min(_MOST, max(_LEAST, _STEP * -(-int(side) // _STEP)))
    return (Candidate(LITE0, "bundled", "auto", size),)
