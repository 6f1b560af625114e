"""`graft zoo`: the architectures that can be named, and what is known of each without downloading anything.

Torch, torchvision and timm take seconds to be imported, so what they say of the default list stands in a file, for the
versions that requirements.lock names; `python -m graft.cli.zoo` writes it anew. Whatever is not in it is looked up.
"""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from graft.core.errors import GraftError, did_you_mean
from graft.core.progress import track

_FILE = "published.json"
_LIBRARIES = ("timm", "torchvision")


@dataclass(frozen=True)
class ZooEntry:
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
    entries = list(_of_the_file(pattern)) or list(_looked_up(pattern))
    if as_json:
        for entry in entries:
            print(json.dumps(asdict(entry)))
        return
    _print_table(entries)
    if pattern == "*":
        count = published()["names"] or len(_names())
        print(f"and {count - len(entries)} more of timm: `graft zoo 'timm:*'`, or a narrower pattern")


@cache
def published() -> dict[str, Any]:
    """The table of published.json: ``names`` (a count) and ``rows``; empty where other versions are installed."""
    table: dict[str, Any] = json.loads((files("graft.models.zoo") / _FILE).read_text(encoding="utf-8"))
    return table if table["versions"] == _versions() else {"names": 0, "rows": {}}


def tabulate() -> dict[str, Any]:
    """The content of published.json, computed from the libraries."""
    from urllib.parse import urlparse

    from graft.core.compat.torchvision import models
    from graft.models.zoo.timm_builder import TIMM, timm_config

    rows = {}
    for arch in _default():
        count, size = _look_up(arch)
        if arch.startswith(TIMM):
            file = timm_config(arch).hf_hub_id.replace("/", "--")
        else:
            file = Path(urlparse(models.get_model_weights(arch).DEFAULT.url).path).name
        rows[arch] = {"params": count, "input_px": size, "licence": licence_of(arch), "file": file}
    return {"versions": _versions(), "names": len(_names()), "rows": rows}


def _versions() -> dict[str, str]:
    try:
        return {name: version(name).partition("+")[0] for name in _LIBRARIES}
    except PackageNotFoundError:
        return {}


def _of_the_file(pattern: str) -> Iterator[ZooEntry]:
    """The entries of the file that match; none where names that are not in it may match too."""
    from graft.models.weights.bundled import BUNDLED

    rows = published()["rows"]
    if pattern != "*" and pattern[:1] in {"", "*", "?", "[", "t"}:  # timm's names have its name before them
        return
    for arch in fnmatch.filter(rows, pattern):
        row = rows[arch]
        bundled = ("bundled",) if arch in BUNDLED and _has_bundled(arch) else ()
        pretrained = ("pretrained",) if _is_here(row["file"]) else ()
        here = (*bundled, *pretrained, "source", "none")
        yield _entry(arch, row["params"], row["input_px"], row["licence"], here)


def _looked_up(pattern: str) -> Iterator[ZooEntry]:
    """The same by the libraries. Raises GraftError where nothing matches."""
    wanted = _default() if pattern == "*" else fnmatch.filter(_names(), pattern)
    if not wanted:
        raise GraftError(f"no architecture matches {pattern!r}", remedy=did_you_mean(pattern, _names()))
    for arch in track(wanted, "looking up"):
        yield _entry(arch, *_look_up(arch), licence_of(arch), _offline(arch))


def _default() -> list[str]:
    from graft.models.weights.bundled import BUNDLED
    from graft.models.zoo.registry import TORCHVISION_BUILDER

    return [*TORCHVISION_BUILDER.names(), *BUNDLED]


def _names() -> tuple[str, ...]:
    from graft.models.zoo.registry import names

    return names()


def _look_up(arch: str) -> tuple[int, int]:
    """How many parameters, and the side of the published weights' input."""
    from graft.models.zoo.registry import builder_for

    return parameters(arch), builder_for(arch).preprocessing(arch, None).size


def _entry(arch: str, count: int, size: int, licence: str, offline: tuple[str, ...]) -> ZooEntry:
    return ZooEntry(arch, round(count / 1e6, 2), round(count * 4 / 1e6, 1), size, licence, offline)


def _has_bundled(arch: str) -> bool:
    from graft.models.weights.bundled import bundled_file

    try:
        return bundled_file(arch).is_file()
    except GraftError:
        return False


def _is_here(file: str) -> bool:
    """Whether published weights lie where torchvision and the hub put what they download."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch = Path(os.environ.get("TORCH_HOME") or cache / "torch") / "hub" / "checkpoints" / file
    hub = Path(os.environ.get("HF_HOME") or cache / "huggingface") / "hub" / f"models--{file}" / "snapshots"
    return torch.is_file() or any(hub.glob("*/*"))


def licence_of(arch: str) -> str:
    """The licence of an architecture's published weights, as far as their publisher states one."""
    from graft.models.weights.bundled import BUNDLED
    from graft.models.zoo.timm_builder import TIMM, timm_config

    if arch in BUNDLED:
        return BUNDLED[arch].licence
    if arch.startswith(TIMM):
        return getattr(timm_config(arch), "license", None) or "not stated"
    return "BSD-3-Clause (code)"


def parameters(arch: str) -> int:
    """How many parameters, as torchvision publishes it, or counted on a timm model that takes up no memory."""
    import torch

    from graft.core.compat.torchvision import models
    from graft.models.zoo.registry import builder_for
    from graft.models.zoo.timm_builder import TIMM

    if not arch.startswith(TIMM):
        return int(models.get_model_weights(arch).DEFAULT.meta["num_params"])
    try:
        with torch.device("meta"):
            model = builder_for(arch).model(arch)
    except NotImplementedError:  # some compute with values while they are built, which needs memory
        model = builder_for(arch).model(arch)
    return sum(parameter.numel() for parameter in model.parameters())


def _offline(arch: str) -> tuple[str, ...]:
    """Kinds of weights whose file is on this machine; `source` and `none` always can be had."""
    from graft.core.settings import Candidate
    from graft.core.workspace import Workspace
    from graft.models.weights.locate import WeightsContext, locate_weights

    around = WeightsContext(Workspace.find().source_models, offline=True, seed=0)
    here = []
    for kind in ("bundled", "pretrained"):
        try:
            locate_weights(Candidate(arch=arch, weights=kind), around)
        except GraftError:
            continue
        here.append(kind)
    return (*here, "source", "none")


def _print_table(entries: list[ZooEntry]) -> None:
    print(f"{'architecture':34} {'params':>9} {'size':>9} {'input':>7}  {'licence':22} weights without a network")
    for entry in entries:
        print(
            f"{entry.arch:34} {entry.params_m:7.2f} M {entry.size_mb:6.1f} MB {entry.input_px:4d} px  "
            f"{entry.licence:22} {', '.join(entry.offline)}"
        )


if __name__ == "__main__":
    from graft.core.files import write_json

    write_json(Path(__file__).parents[1] / "models" / "zoo" / _FILE, tabulate())
