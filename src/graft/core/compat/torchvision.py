"""The only import of torchvision, with a workaround for CPU builds of torch.

torchvision's wheel on PyPI is built against CUDA builds of torch. On a CPU build its C++ library does not
load, and the package then fails to import because two operators it wants to describe do not exist. Where the
library loads, nothing is done here; where it does not, the two schemas are declared (without kernels), which
is all that models, transforms and weight metadata need. ``ops.nms`` and torchvision's own decoders stay out.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _library_loads() -> bool:
    """Try to load torchvision's C++ library the way torchvision does."""
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return False
    for library in Path(found.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except (ImportError, OSError):
            continue
        return True
    return False


def _declare_schemas() -> torch.library.Library:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    return library


# Kept at module level: the declarations vanish with the object.
declared = None if _library_loads() else _declare_schemas()

from torchvision import datasets, models, transforms  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

__all__ = ["datasets", "declared", "models", "transforms", "v2"]
