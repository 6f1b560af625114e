"""Names of model.onnx: input, outputs, and the metadata key of model.json's hash."""

from __future__ import annotations

IMAGES = "images"  # float32 (n, 3, size, size), normalised
LOGITS = "logits"  # float32 (n, classes)
FEATURES = "features"  # float32 (n, d): what the head receives
ARTIFACT_KEY = "graft.card.sha256"  # metadata: the hash of the model.json that it was exported for
