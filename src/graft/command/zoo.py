"""`graft zoo`: the architectures that can be named, and what is known of each without downloading anything."""

from __future__ import annotations

import fnmatch
import json
from dataclasses import asdict, dataclass

from graft.errors import GraftError, did_you_mean
from graft.progress import track


@dataclass(frozen=True)
class Entry:
    """A line of the list.

    Attributes:
        arch: as written in params.yaml.
        params_m: parameters in millions, the published head included.
        size_mb: the weights in megabytes, 4 bytes a parameter.
        input_px: side of the input of the published weights.
        licence: of the weights, where their publisher states it.
        offline: which `weights` can be had without a network.
    """

    arch: str
    params_m: float
    size_mb: float
    input_px: int
    licence: str
    offline: tuple[str, ...]


def list_zoo(pattern: str, as_json: bool) -> None:
    """Print the architectures that match ``pattern``; without one, torchvision's and those with bundled weights.

    Raises:
        GraftError: nothing matches.
    """
    from graft.zoo.bundled import BUNDLED
    from graft.zoo.catalogue import TORCHVISION_BUILDER, names

    default = [*TORCHVISION_BUILDER.names(), *BUNDLED]
    wanted = default if pattern == "*" else fnmatch.filter(names(), pattern)
    if not wanted:
        raise GraftError(f"no architecture matches {pattern!r}", remedy=did_you_mean(pattern, names()))
    entries = [describe(arch) for arch in track(wanted, "looking up")]
    if as_json:
        for entry in entries:
            print(json.dumps(asdict(entry)))
    else:
        _print_table(entries)
        if pattern == "*":
            print(f"and {len(names()) - len(default)} more of timm: `graft zoo 'timm:*'`, or a narrower pattern")


def describe(arch: str) -> Entry:
    """Look one architecture up."""
    from graft.zoo.catalogue import family_of

    count = parameters(arch)
    size = family_of(arch).preprocessing(arch, None).geometry.size
    return Entry(arch, round(count / 1e6, 2), round(count * 4 / 1e6, 1), size, licence_of(arch), _offline(arch))


def licence_of(arch: str) -> str:
    """The licence of an architecture's published weights, as far as their publisher states one."""
    from graft.zoo.bundled import BUNDLED
    from graft.zoo.timm_builder import TIMM, timm_config

    if arch in BUNDLED:
        return BUNDLED[arch].licence
    if arch.startswith(TIMM):
        return getattr(timm_config(arch), "license", None) or "not stated"
    return "BSD-3-Clause (code)"


def parameters(arch: str) -> int:
    """How many parameters, as torchvision publishes it, or counted on a timm model that takes up no memory."""
    import torch

    from graft.vision import models
    from graft.zoo.catalogue import family_of
    from graft.zoo.timm_builder import TIMM

    if not arch.startswith(TIMM):
        return int(models.get_model_weights(arch).DEFAULT.meta["num_params"])
    try:
        with torch.device("meta"):
            model = family_of(arch).model(arch)
    except NotImplementedError:  # some compute with values while they are built, which needs memory
        model = family_of(arch).model(arch)
    return sum(parameter.numel() for parameter in model.parameters())


def _offline(arch: str) -> tuple[str, ...]:
    """Kinds of weights whose file is on this machine; `source` and `none` always can be had."""
    from graft.settings import Candidate
    from graft.workspace import Workspace
    from graft.zoo.weights import Surroundings, locate

    around = Surroundings(Workspace.find().source_models, offline=True, seed=0)
    here = []
    for kind in ("bundled", "pretrained"):
        try:
            locate(Candidate(arch=arch, weights=kind), around)
        except GraftError:
            continue
        here.append(kind)
    return (*here, "source", "none")


def _print_table(entries: list[Entry]) -> None:
    print(f"{'architecture':34} {'params':>9} {'size':>9} {'input':>7}  {'licence':22} weights without a network")
    for entry in entries:
        print(
            f"{entry.arch:34} {entry.params_m:7.2f} M {entry.size_mb:6.1f} MB {entry.input_px:4d} px  "
            f"{entry.licence:22} {', '.join(entry.offline)}"
        )
