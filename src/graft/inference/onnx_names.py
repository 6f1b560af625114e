"""Names of model.onnx: its outputs (the preprocessor names its inputs), and the metadata key of model.json's hash."""

from __future__ import annotations

LOGITS = "logits"  # float32 (n, classes)
FEATURES = "features"  # float32 (n, d): what the head receives
ARTIFACT_KEY = "graft.card.sha256"  # metadata: the hash of the model.json that it was exported for
