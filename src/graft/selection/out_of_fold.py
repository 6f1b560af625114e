"""The table of what networks say of training images that they were not trained on, as stages hand it on.

A row for each image and strategy (the column ``strategy``) of which some network was trained without the image's fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def out_of_fold_table(outputs: Mapping[str, NDArray[np.float32]], data: TrainSet) -> pd.DataFrame:
    """Columns path, label, fold, strategy, then ``logit:<output>``.

    Args:
        outputs: for each strategy logits (n, k) of the training images, NaN where none was trained without its fold.
        data: the training images.
    """
    import pandas as pd

    labels = [data.classes[label] for label in data.labels] if data.classes else data.labels
    tables = []
    for strategy, logits in outputs.items():
        known = {"path": data.images.paths, "label": labels, "fold": data.folds, "strategy": strategy}
        said = {f"{LOGIT}{name}": logits[:, place] for place, name in enumerate(data.outputs)}
        tables.append(pd.DataFrame({**known, **said}).iloc[np.flatnonzero(~np.isnan(logits).any(axis=1))])
    return pd.concat(tables, ignore_index=True)


def rightly_named(outputs: Mapping[str, NDArray[np.float32]], labels: NDArray[np.intp]) -> dict[str, NDArray[np.bool_]]:
    """For each strategy whether it names each image rightly, bool (m), of those of which all of them say something.

    Args:
        outputs: for each strategy logits (n, k), NaN where none was trained without the image's fold.
        labels: class indices (n).
    """
    known = ~np.any([np.isnan(logits).any(axis=1) for logits in outputs.values()], axis=0)
    return {name: logits[known].argmax(axis=1) == labels[known] for name, logits in outputs.items()}


def read_outputs(path: Path, strategies: Iterable[str], data: TrainSet) -> dict[str, NDArray[np.float32]]:
    """For each strategy logits (n, k) of the training images, NaN where the table has none.

    Raises:
        DataError: see :func:`read_logits`.
    """
    found = {}
    for strategy in strategies:
        logits, places = read_logits(path, data, strategy)
        found[strategy] = np.full((len(data.labels), logits.shape[1]), np.nan, np.float32)
        found[strategy][places] = logits
    return found


def read_logits(path: Path, data: TrainSet, strategy: str) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Logits (m, k) by a strategy, as :func:`out_of_fold_table` wrote them, and which of the images (m) they are of.

    Raises:
        DataError: the table is not of these images in these folds.
    """
    import pandas as pd

    table = pd.read_parquet(path)
    table = table[table["strategy"] == strategy]
    places = pd.Index(data.images.paths).get_indexer(pd.Index(table["path"]))
    folds = table["fold"].to_numpy()
    # Of each fold that it speaks of it has every image.
    whole = len(table) and len(table) == np.isin(data.folds, folds).sum() and (places >= 0).all()
    if not whole or (data.folds[places] != folds).any():
        raise DataError(
            f"this table is of other training images, or says nothing of {strategy!r}",
            where=path,
            remedy="run `.venv/bin/dvc repro`",
        )
    return table[[f"{LOGIT}{name}" for name in data.outputs]].to_numpy(np.float32), places
