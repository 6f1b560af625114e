"""The names by which export and engine meet: its input, its outputs, and the key that ties it to a card."""

from __future__ import annotations

IMAGES = "images"  # float32 (n, 3, size, size), normalised
LOGITS = "logits"  # float32 (n, classes)
FEATURES = "features"  # float32 (n, d): what the head receives
CARD_KEY = "graft.card.sha256"  # metadata: the hash of the model.json that it was exported for
