"""Published weights of torchvision and timm: found on this machine and verified, or downloaded if allowed.

Looked for in turn: among graft's kept weights; where the library itself would have put its download (a user may have
put the file there by hand); at the publisher. What is found is compared with the SHA-256 that its publisher states.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlparse

from graft.errors import WeightsError, did_you_mean
from graft.files import sha256
from graft.online import reachable
from graft.zoo.fetching import Remote, download, headers_of
from graft.zoo.kept import keep, kept_file, kept_folder
from graft.zoo.timm_builder import timm_config

_SHA256 = re.compile(r"[0-9a-f]{64}")


def torchvision_file(arch: str, name: str, may_download: bool) -> Path:
    """The safetensors file of torchvision's weights ``name`` (such as ``DEFAULT``) for ``arch``.

    Raises:
        WeightsError: there are no weights of that name, or the file is not here and cannot be had.
    """
    import torch

    from graft.vision import models

    enum = models.get_model_weights(arch)
    if name not in enum.__members__:
        raise WeightsError(
            f"{arch} has no weights named {name!r}",
            where=f"zoo.candidates: {arch}",
            remedy=did_you_mean(name, [*enum.__members__, "source", "none"]),
        )
    url = enum[name].url
    own = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    # torchvision's files are named after the beginning of their hash.
    remote = Remote(url, own.stem.rpartition("-")[2])
    if (kept := kept_file(own.stem)) is not None:
        return kept
    if own.exists() and _is(own, remote, may_download):
        return keep(own, own.stem, url)
    _refuse_unless_reachable(url, own, may_download)
    return _fetch(remote, own.stem, own.suffix)


def timm_file(arch: str, may_download: bool) -> Path:
    """The safetensors file of timm's own weights for ``arch``.

    Raises:
        WeightsError: timm publishes none, or the file is not here and cannot be had.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    found = timm_config(arch)
    repository = found.hf_hub_id if found is not None else None
    if not repository:
        raise WeightsError(
            f"timm publishes no weights for {arch!r}",
            where="zoo.candidates: weights",
            remedy="write `weights: source`, `none`, or the path of a file",
        )
    filename = found.hf_hub_filename or "model.safetensors"
    name = repository.replace("/", "--")
    if (kept := kept_file(name)) is not None:
        return kept
    url = f"{constants.ENDPOINT}/{repository}/resolve/main/{filename}"
    cached = try_to_load_from_cache(repository, filename, cache_dir=constants.HF_HUB_CACHE)
    # The hub's cache names a large file after its hash; one without such a name cannot be verified, and is not used.
    blob = Path(cached).resolve().name if isinstance(cached, str) else ""
    if isinstance(cached, str) and _SHA256.fullmatch(blob) and _is(Path(cached), Remote(url, blob), may_download):
        return keep(Path(cached), name, url)
    folder = Path(constants.HF_HUB_CACHE) / f"models--{name}"
    _refuse_unless_reachable(url, folder / filename, may_download)
    return _fetch(Remote(url, _stated_by_hub(url)), name, Path(filename).suffix)


def _fetch(remote: Remote, name: str, suffix: str) -> Path:
    kept_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download.", dir=kept_folder()) as folder:
        path = Path(folder) / f"{name}{suffix}"
        download(remote, path)
        return keep(path, name, remote.url)


def _stated_by_hub(url: str) -> str:
    """The SHA-256 that the hub states for a large file: the tag of what its answer links to, or of the answer."""
    headers = headers_of(url)
    tag = (headers.get("X-Linked-ETag") or headers.get("ETag") or "").removeprefix("W/").strip('"')
    if not _SHA256.fullmatch(tag):
        raise WeightsError("the hub states no sha256 for this file, so it cannot be verified", where=url)
    return tag


def _is(path: Path, remote: Remote, may_download: bool) -> bool:
    """Whether a file that was found is the published one; if not, say so, or refuse where it cannot be fetched anew."""
    if sha256(path).startswith(remote.sha256):
        return True
    what = f"{path} is not the file that was published (its sha256 does not begin with {remote.sha256})"
    if not may_download:
        raise WeightsError(
            "these weights are damaged or not whole: their sha256 is not the published one",
            where=path,
            remedy=f"delete the file and fetch {remote.url} again",
        )
    print(f"{what}, and is fetched again", file=sys.stderr, flush=True)
    return False


def _refuse_unless_reachable(url: str, path: Path, may_download: bool) -> None:
    """Refuse within seconds, and before any long work, what the download would only find out by time-outs."""
    host = urlparse(url).hostname or ""
    if may_download and reachable(url):
        return
    reason = f"{host} cannot be reached" if may_download else "downloads are switched off"
    raise WeightsError(
        f"the weights {path.name} are not on this machine, and {reason}",
        where=f"looked for {path}",
        remedy=f"fetch {url} on a machine with a network and put it there; or give the path of a file as `weights`, "
        "or take `weights: bundled`, `source` or `none`",
    )
