"""Read state dicts without unpickling, and load them into an architecture."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict without running any code that the file may hold.

    Raises:
        WeightsError: the file is damaged, or holds anything but tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise WeightsError(f"the weights file cannot be read: {error}", where=path, remedy="get it again") from None
    except Exception as error:  # pickle raises what it likes for a file that is more than tensors
        raise WeightsError(
            f"the weights file holds more than tensors and is refused ({type(error).__name__})",
            where=path,
            remedy="convert it to .safetensors where it comes from",
        ) from None
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError("the weights file is not a state dict", where=path, remedy="save model.state_dict() only")
    return dict(state)


def load_state(model: Any, state: Mapping[str, Tensor], head: Set[str], where: Path) -> None:
    """Load a state dict; only a ``head`` of another class count may be left out, with a note on stderr.

    Args:
        model: the whole model, with its own head.
        state: tensors by the model's names.
        head: the names of the model's tensors that are its head's.
        where: the file, for messages.

    Raises:
        WeightsError: a tensor is missing, unknown, or of another shape; the message names the first three.
    """
    own: dict[str, Tensor] = model.state_dict()
    # PyTorch did not count batches before 0.4.1, and many published files are older; it starts at zero for them.
    absent = {key for key in own if key.endswith(".num_batches_tracked") and key not in state} | head
    other = sorted(key for key in head if key in state and own[key].shape != state[key].shape)
    usable = {key: value for key, value in state.items() if key not in other}
    wrong = [
        f"{k} {tuple(v.shape)} is not {tuple(own[k].shape)}"
        for k, v in usable.items()
        if k in own and own[k].shape != v.shape
    ]
    wrong += [f"{key} is missing" for key in own if key not in usable and key not in absent]
    wrong += [f"{key} is unknown" for key in usable if key not in own]
    if wrong:
        raise WeightsError(
            f"these weights are not this architecture's: {'; '.join(wrong[:3])}"
            + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""),
            where=where,
            remedy="take the weights that were saved from the same architecture",
        )
    # Into the model's own dict, because that carries the versions by which some modules know today's names.
    own.update(usable)
    model.load_state_dict(own)
    if other:
        classes, ours = state[other[-1]].shape[0], own[other[-1]].shape[0]
        print(
            f"{where.name}: its head of {classes} classes is left out ({', '.join(other)}; this architecture's own has "
            f"{ours}), all else is loaded",
            file=sys.stderr,
            flush=True,
        )
