"""Published weights of torchvision and timm, in the caches of ``torch.hub`` and ``huggingface_hub``.

A file that is there already is used, whether the library, timm or a user put it there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlparse

from graft.core.errors import WeightsError, did_you_mean
from graft.core.files import sha256
from graft.core.network import socket_timeout


def torchvision_file(arch: str, name: str, may_download: bool) -> Path:
    """The file of torchvision's weights ``name`` (such as ``DEFAULT``) for ``arch``, its hash verified.

    Raises:
        WeightsError: there are no weights of that name, or the file is not here and cannot be had.
    """
    import torch

    from graft.core.compat.torchvision import models

    enum = models.get_model_weights(arch)
    if name not in enum.__members__:
        raise WeightsError(
            f"{arch} has no weights named {name!r}",
            where=f"zoo.candidates: {arch}",
            remedy=did_you_mean(name, [*enum.__members__, "source", "none"]),
        )
    url = enum[name].url
    path = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(url).path).name)
    digest = path.stem.rpartition("-")[2]  # torchvision's files are named after the beginning of their SHA-256
    if not path.exists():
        if not may_download:
            raise _missing(path.name, "downloads are switched off", path, url)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with socket_timeout():
                torch.hub.download_url_to_file(url, str(path), hash_prefix=digest)
        except (OSError, RuntimeError) as error:
            if isinstance(error, HTTPError):
                error.close()
            raise _missing(path.name, f"they cannot be downloaded ({_first_line(error)})", path, url) from None
    elif not sha256(path).startswith(digest):
        raise WeightsError(
            f"these weights are damaged or not whole: their sha256 does not begin with {digest}",
            where=path,
            remedy=f"delete the file and fetch {url} again",
        )
    return path


def timm_file(arch: str, config: Any, may_download: bool) -> Path:
    """The file of timm's own weights for ``arch``, of timm's pretrained configuration, in the Hugging Face hub's cache.

    Raises:
        WeightsError: timm publishes none, or the file is not here and cannot be had.
    """
    from huggingface_hub import constants, get_session, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository = config.hf_hub_id if config is not None else None
    if not repository:
        raise WeightsError(
            f"timm publishes no weights for {arch!r}",
            where="zoo.candidates: weights",
            remedy="write `weights: source`, `none`, or the path of a file",
        )
    filename = config.hf_hub_filename or "model.safetensors"
    try:
        # What is here is used, even where the repository has moved on: a rerun gives the same figures.
        return Path(hf_hub_download(repository, filename, local_files_only=True))
    except LocalEntryNotFoundError:
        reason = "downloads are switched off"
    url = hf_hub_url(repository, filename)
    if may_download:
        try:
            get_session().head(url, timeout=10)  # without a network the download tries for half a minute
            return Path(hf_hub_download(repository, filename))
        except Exception as error:  # of the hub, of its HTTP client, of the disk
            reason = f"they cannot be downloaded ({_first_line(error)})"
    looked = Path(constants.HF_HUB_CACHE, f"models--{repository.replace('/', '--')}")
    raise _missing(f"{repository}/{filename}", reason, looked, url)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _missing(name: str, reason: str, path: Path, url: str) -> WeightsError:
    return WeightsError(
        f"the weights {name} are not on this machine, and {reason}",
        where=f"looked for {path}",
        remedy=f"fetch {url} on a machine with a network and give its path as `weights`, or copy that machine's cache; "
        "or take `weights: bundled`, `source` or `none`",
    )
