"""Calibration and training part of ``GET /model``."""

from __future__ import annotations

from typing import Any

from graft.inference.artifact import Artifact


def calibration_summary(artifact: Artifact) -> dict[str, Any]:
    """Abstention threshold, novelty and size of the training set, as JSON.

    Returns:
        ``threshold``: ``confidence``, the probability in [0.5, 1] under which it is not sure, and ``target``, the
        accuracy that answers above it shall have, None where it was not set by one. ``novelty``: the share of images
        like the training images that it does not call unlike, None where it cannot tell. ``trained_on``: how many
        ``images``, None where model.json does not say.
    """
    threshold, novelty = artifact.trust.threshold, artifact.trust.novelty
    return {
        # One that does not reach its target promises nothing.
        "threshold": {"confidence": threshold.confidence, "target": None if threshold.reason else threshold.target},
        "novelty": None if novelty.distance is None else {"usual": novelty.usual},
        "trained_on": {"images": artifact.provenance.get("train_images")},
    }
