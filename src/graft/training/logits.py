"""Logits of a network in eval mode, in batches that fit into a processor's cache."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graft.modalities.preprocessor import Inputs
from graft.models.batch import map_tensors, split, tensors_of

# Values of a batch that is only looked at, such as 20 images of 224 px. What a network makes of larger batches does not
# fit into a processor's cache and has to be fetched from memory in every layer.
_VALUES_AT_ONCE = 1 << 22


@torch.no_grad()
def logits_of(module: nn.Module, inputs: Inputs) -> Tensor:
    """Logits (n, classes) of a batch of n samples on the CPU; the module's training mode is put back."""
    was = [(part, part.training) for part in module.modules()]
    module.eval()
    device = next(module.parameters()).device
    parts = split(inputs, _batch_size(tensors_of(inputs)[0]))
    out = torch.cat([module(map_tensors(lambda value: value.to(device), part)).cpu() for part in parts])
    for part, mode in was:
        part.training = mode
    return out


def _batch_size(inputs: Tensor) -> int:
    """How many of ``inputs`` (n, ...) go through a network together: 4 to 256, fewer where they are larger."""
    return max(4, min(256, _VALUES_AT_ONCE // inputs[0].numel()))
