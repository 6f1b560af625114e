"""Published weights of torchvision and timm: found where those libraries keep them, or downloaded if allowed."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

from graft.errors import WeightsError, did_you_mean
from graft.online import reachable
from graft.zoo.catalogue import timm_config


def torchvision_file(arch: str, name: str, may_download: bool) -> Path:
    """The file of torchvision's weights ``name`` (such as ``DEFAULT``) for ``arch``.

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
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if not path.exists():
        _refuse_unless_reachable(url, path, may_download)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Writes beside and renames; the hash in the file's name is checked.
        prefix = path.stem.rpartition("-")[2]
        torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix)
    return path


def timm_file(arch: str, may_download: bool) -> Path:
    """The file of timm's own weights for ``arch``, in the Hugging Face cache.

    Raises:
        WeightsError: timm publishes none, or the file is not here and cannot be had.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE

    found = timm_config(arch)
    repository = found.hf_hub_id if found is not None else None
    if not repository:
        raise WeightsError(
            f"timm publishes no weights for {arch!r}",
            where="zoo.candidates: weights",
            remedy="write `weights: source`, `none`, or the path of a file",
        )
    cached = try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(cached, str):
        return Path(cached)
    folder = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    _refuse_unless_reachable(f"https://huggingface.co/{repository}", folder / "model.safetensors", may_download)
    return Path(hf_hub_download(repository, "model.safetensors"))


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
