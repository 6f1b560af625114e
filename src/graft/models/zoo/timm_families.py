"""Split any timm classifier into blocks along timm's parameter groups, and check the blocks against the model.

The way from images to the feature vector is ``forward_head(forward_features(images), pre_logits=True)`` for all of
timm. It is traced, and cut where a single tensor carries everything and where one of the groups ends that timm's
``group_matcher(coarse=True)`` divides the parameters into, so that a block is what timm would give a learning rate of
its own. The blocks are run once and must give what the model gives. Where they cannot be had in this way (several
branches side by side, code that depends on values), the trunk is a single block: it can be probed at its last
feature and frozen as a whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from graft.models.backbone import BackboneParts, Layout, blank_image
from graft.models.zoo.tracing import BATCH, Trace, cuts, piece, trace

# What timm's models call their stem and their blocks, for those that have no groups.
USUAL_GROUPS = {"stem": r"^(?:stem|patch_embed|pos_embed|cls_token)", "blocks": r"^\w+\.(\d+)"}


class Features(nn.Module):
    """Images -> the feature vector that a timm model's head receives."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.border = nn.Identity()  # what timm gives before it pools, seen in the trace

    def forward(self, images: Tensor) -> Tensor:
        given = self.model.forward_features(images)
        if not isinstance(given, list | tuple):  # some give a map of each of several branches
            given = self.border(given)
        out: Tensor = self.model.forward_head(given, pre_logits=True)
        return out


@dataclass(frozen=True)
class Segment:
    """The operations between two possible cuts of the model.

    Attributes:
        stop: after how many nodes it ends.
        owners: timm's groups of its parameters, each with the model's attribute that holds them.
        layout: of what it gives; None where that is no map and no tokens.
        wide: whether any of its parameters has more than one dimension.
    """

    stop: int
    owners: frozenset[tuple[int, str]]
    layout: Layout | None
    wide: bool


def take_apart(model: Any, size: int) -> BackboneParts:
    """Split a built timm model into parts for images of ``size`` px, in eval mode, without its head."""
    model.eval()
    whole = Features(model)
    images, wanted = _tried(whole, size)
    model.reset_classifier(0)
    blocks, neck, layout, side = _in_blocks(whole, images, wanted)
    if wanted.ndim == 4:
        neck = nn.Sequential(neck, nn.Flatten(1))  # its own head is a convolution
    return BackboneParts(blocks, neck, wanted.shape[1], layout, example=blank_image(side))


def _tried(whole: nn.Module, side: int) -> tuple[Tensor, Tensor]:
    """Random images (BATCH, 3, side, side) and the model's output for them."""
    images = torch.randn(BATCH, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return images, whole(images)


def _in_blocks(whole: Features, images: Tensor, wanted: Tensor) -> tuple[tuple[nn.Module, ...], nn.Module, Layout, int]:
    """Blocks, neck, layout and input size; a single block where the blocks do not reproduce the output."""
    side = images.shape[-1]
    try:
        found = _blocks_along_groups(whole, images)
        with torch.no_grad():
            torch.testing.assert_close(nn.Sequential(*found[0], found[1])(images), wanted)
    except Exception:  # whatever a model's code raises when it is run with placeholders
        return (whole,), nn.Identity(), "NC", side
    return *found, side


def _blocks_along_groups(whole: Features, images: Tensor) -> tuple[tuple[nn.Module, ...], nn.Module, Layout]:
    groups = _groups(whole.model)

    def together(name: str) -> bool:
        return len({group for parameter, (group, _) in groups.items() if parameter.startswith(f"{name}.")}) < 2

    traced = trace(whole, images, together)
    places = {0: traced.entry, **cuts(traced)}
    edges, layout = _edges(_segments(traced, places, groups))
    pieces = [
        piece(traced, traced.nodes[a:b], places[a], places[b])
        for a, b in itertools.pairwise([0, *edges, len(traced.nodes)])
    ]
    held = [id(parameter) for part in pieces for parameter in part.parameters()]
    if len(held) > len(set(held)):
        raise ValueError("a parameter would belong to two blocks")
    return tuple(pieces[:-1]), pieces[-1], layout


def _groups(model: Any) -> dict[str, tuple[int, str]]:
    """Name of each parameter in :class:`Features` -> timm's group and the attribute of the model that holds it."""
    from timm.models import group_parameters

    try:
        matcher = model.group_matcher(coarse=True)
    except (AttributeError, AssertionError):  # timm knows none
        matcher = USUAL_GROUPS
    found = group_parameters(model, matcher, reverse=True)
    return {f"model.{name}": (int(group), name.split(".")[0]) for name, group in found.items()}


def _segments(traced: Trace, places: Mapping[int, fx.Node], groups: Mapping[str, tuple[int, str]]) -> list[Segment]:
    border = next((index for index, node in enumerate(traced.nodes) if node.target == "border"), len(traced.nodes))
    segments = []
    for start, stop in itertools.pairwise(places):
        nodes = traced.nodes[start:stop]
        # A class token or positions by themselves, such as Cait's token that comes late, do not make a group.
        named = {name for node in nodes if node.op == "call_module" for name in traced.parameters(node)}
        owners = {groups[name] for name in named if name in groups}
        held = [parameter for node in nodes for parameter in traced.parameters(node).values()]
        layout = _layout(traced.values[places[stop]]) if stop <= border + 1 else None
        segments.append(Segment(stop, frozenset(owners), layout, any(parameter.ndim > 1 for parameter in held)))
    return segments


def _layout(value: Tensor) -> Layout | None:
    if value.ndim == 3:
        return "NLC"
    if value.ndim != 4:
        return None
    return "NCHW" if value.shape[2] == value.shape[3] else "NHWC" if value.shape[1] == value.shape[2] else None


def _edges(segments: Sequence[Segment]) -> tuple[list[int], Layout]:
    """End of each block, in nodes of the trace; the neck begins at the last."""
    end = max(index for index, segment in enumerate(segments, 1) if segment.layout is not None)
    while end > 1 and not segments[end - 1].wide:  # norms and activations before the pooling belong to the neck
        end -= 1
    trunk = segments[:end]
    top = max(group for segment in segments for group, _ in segment.owners)
    if any(group != top for segment in segments[end:] for group, _ in segment.owners):
        raise ValueError("whole stages follow the last place where a single map or sequence carries everything")
    # The layout of most places is that of every block but the last, whose output only the neck sees.
    layouts = [segment.layout for segment in trunk if segment.layout is not None]
    layout = max(set(layouts), key=lambda kind: (layouts.count(kind), kind))
    edges = []
    for index in range(1, end):
        before, after = (_kinds(part, top) for part in (trunk[:index], trunk[index:]))
        stem_alone = {group for group, _ in before} == {0}
        if trunk[index].owners and trunk[index - 1].layout == layout and not before & after and not stem_alone:
            edges.append(trunk[index - 1].stop)
    return [*edges, trunk[-1].stop], layout


def _kinds(segments: Sequence[Segment], top: int) -> set[tuple[int, str]]:
    """Groups that may not lie on both sides of a cut; in the last group, attributes.

    timm gives the layers between the last stage and the pooling to the last stage's group.
    """
    return {(group, name if group == top else "") for segment in segments for group, name in segment.owners}
