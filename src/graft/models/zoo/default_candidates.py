"""``zoo.candidates: auto`` for images: candidates for a domain and image size, available offline."""

from __future__ import annotations

from graft.core.settings import Candidate

LITE0 = "timm:tf_efficientnet_lite0"
# The side at which the bundled weights were trained, and the least at which their first blocks see anything.
_MOST, _LEAST, _STEP = 224, 64, 32


def image_candidates(domain: str, side: float) -> tuple[Candidate, ...]:
    """Candidates for a domain of :mod:`graft.augmentation.domains`.

    Small images are enlarged no further than they need, so that a CPU is quick; of characters there is a source nearer
    than ImageNet, the rendered glyphs.

    Args:
        domain: what the images are.
        side: median of their shorter sides, pixels.
    """
    if domain == "digits":
        glyphs = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5")
        return (
            *(Candidate(arch, "source", size=32) for arch in glyphs),
            Candidate(LITE0, "bundled", "auto", 64),
            Candidate(LITE0, "none", "auto", 64),
        )
    size = min(_MOST, max(_LEAST, _STEP * -(-int(side) // _STEP)))
    return (Candidate(LITE0, "bundled", "auto", size),)
