"""The table of what networks say of training images that they were not trained on, as stages hand it on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.selection.inputs import TrainSet

FILE = "out_of_fold.parquet"
# Begins the names of the columns, before the output's name.
LOGIT = "logit:"


def out_of_fold_table(logits: NDArray[np.float32], data: TrainSet) -> pd.DataFrame:
    """``logits`` (n, k) of the training images as columns path, label, fold, then ``logit:<output>``."""
    import pandas as pd

    known = {
        "path": data.images.paths,
        "label": [data.classes[label] for label in data.labels] if data.classes else data.labels,
        "fold": data.folds,
    }
    return pd.DataFrame({**known, **{f"{LOGIT}{name}": logits[:, place] for place, name in enumerate(data.outputs)}})


def read_logits(path: Path, data: TrainSet) -> NDArray[np.float32]:
    """Logits (n, k) of the training images, as :func:`out_of_fold_table` wrote them.

    Raises:
        DataError: the table is not of these images.
    """
    import pandas as pd

    table = pd.read_parquet(path)
    if tuple(table["path"]) != data.images.paths:
        raise DataError("this table is of other training images", where=path, remedy="run `.venv/bin/dvc repro`")
    return table[[f"{LOGIT}{name}" for name in data.outputs]].to_numpy(np.float32)
