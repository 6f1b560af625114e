"""Weights kept as safetensors below the user's cache: converted once, and verified each time they are used.

A kept file ``<name>.safetensors`` has a card ``<name>.json`` beside it, written after it, with its SHA-256 and where it
came from. A file without a card, or whose hash is another one, is not read: it is made again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from graft.files import sha256, whole_file, write_json
from graft.workspace import user_cache
from graft.zoo.states import read_state


def kept_folder() -> Path:
    """``weights`` in ``GRAFT_CACHE``, else in ``graft`` in the user's cache folder."""
    return user_cache() / "weights"


def kept_file(name: str) -> Path | None:
    """The kept weights of that name, verified; None where there are none or they are damaged, which is said."""
    path = kept_folder() / f"{name}.safetensors"
    try:
        card = json.loads(_card(path).read_text(encoding="utf-8"))
        if sha256(path) == card["sha256"]:
            return path
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OSError):
        pass
    print(f"the weights kept in {path} are damaged and are made again", file=sys.stderr, flush=True)
    return None


def keep(source: Path, name: str, origin: str) -> Path:
    """Convert a state dict's file and keep it under ``name``; ``origin`` says on its card where it came from.

    Raises:
        WeightsError: the file is damaged, or holds anything but tensors.
    """
    from safetensors.torch import save_file

    path = kept_folder() / f"{name}.safetensors"
    # A copy each: safetensors refuses tensors that share memory, as tied weights do.
    state = {key: value.detach().clone().contiguous() for key, value in read_state(source).items()}
    with whole_file(path) as beside:
        save_file(state, beside)
        written = sha256(beside)
    write_json(_card(path), {"sha256": written, "origin": origin, "tensors": len(state)})
    return path


def as_safetensors(path: Path) -> Path:
    """A local weights file as safetensors: itself, or what was converted from the same bytes, once.

    Raises:
        WeightsError: the file is damaged, or holds anything but tensors.
    """
    if path.suffix == ".safetensors":
        return path
    name = f"{path.stem}-{sha256(path)[:16]}"
    return kept_file(name) or keep(path, name, str(path.absolute()))


def _card(path: Path) -> Path:
    return path.with_suffix(".json")
