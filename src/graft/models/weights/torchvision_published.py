"""Convert torchvision's published state dicts to the names and shapes of its present models."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

State = dict[str, Tensor]


def as_published(model: Any, state: State) -> State:
    """Return the state dict unchanged."""
    return state


def drop_auxiliary_heads(model: Any, state: State) -> State:
    """GoogLeNet's and Inception's files hold auxiliary classifiers, which the models are built without."""
    return {key: value for key, value in state.items() if not key.startswith(("aux1.", "aux2.", "AuxLogits."))}


def densenet_names(model: Any, state: State) -> State:
    """`denselayer1.norm.1.weight`, as the published files have it -> `denselayer1.norm1.weight`."""
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", key): state[key] for key in state}


def vit_names_and_positions(model: Any, state: State) -> State:
    """`mlp.linear_1`, `linear_2` of older files -> `mlp.0`, `mlp.3`; positions fitted to the model's grid of patches.

    Positions are interpolated (bicubic) as in section 3.2 of Dosovitskiy et al., https://arxiv.org/abs/2010.11929.
    """
    from graft.core.compat.torchvision import models

    new = {"linear_1": "0", "linear_2": "3"}
    named = {re.sub(r"(?<=\.mlp\.)linear_[12]", lambda old: new[old[0]], key): state[key] for key in state}
    positions = named.get("encoder.pos_embedding")
    if positions is None or positions.ndim != 3:
        return named
    try:
        fitted = models.vision_transformer.interpolate_embeddings(model.image_size, model.patch_size, named)
    except ValueError:  # not a square of patches: refused by its shape when it is loaded
        return named
    return dict(fitted)
