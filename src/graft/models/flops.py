"""What a network costs to serve, counted rather than timed, so that the same network always costs the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from graft.modalities.preprocessor import Inputs
from graft.models.backbone import Network


@dataclass(frozen=True)
class Cost:
    """Parameters in millions, and multiply-accumulates for one sample in billions (GMACs)."""

    params_m: float
    gmacs: float


def cost_of(network: Network, sample: Inputs) -> Cost:
    """Count the parameters and the GMACs of a batch of one sample (convolutions and matrix products only)."""
    return costs_by_depth(network, sample, network.head.out_features)[-1]


def costs_by_depth(network: Network, sample: Inputs, classes: int) -> list[Cost]:
    """What the network costs cut after each block, with a head of ``classes``: one pass tells all."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network.eval()
    counter = FlopCounterMode(display=False)
    costs, params = [], 0
    with torch.no_grad(), _attention_in_steps(), counter:
        for unit, feature in zip(network.layer_groups(), network.pooled(sample), strict=True):
            params += sum(parameter.numel() for module in unit for parameter in module.parameters())
            head = feature.shape[1] * classes
            # One multiply-accumulate is two floating point operations.
            macs = counter.get_total_flops() / 2 + head
            costs.append(Cost(params_m=(params + head + classes) / 1e6, gmacs=macs / 1e9))
    return costs


@contextmanager
def _attention_in_steps() -> Iterator[None]:
    """Attention as plain matrix products: PyTorch's fused kernels on the CPU count as operations that cost nothing."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)
