"""The table of a model's outputs for the test images, as one stage hands it to the next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.core.errors import DataError
from graft.evaluation.evaluation import ModelOutputs

if TYPE_CHECKING:
    import pandas as pd

    from graft.calibration.fitted_trust import FittedTrust
    from graft.evaluation.held_out import HeldOutSet

OUTPUT, NOVELTY = "output:", "novelty"


def outputs_frame(held_out: HeldOutSet, said: ModelOutputs) -> pd.DataFrame:
    """A row per test image: path, ``output:<name>`` for each output, and novelty where the model tells it."""
    import pandas as pd

    names = held_out.task.outputs(held_out.classes)
    columns = {f"{OUTPUT}{name}": said.outputs[:, place] for place, name in enumerate(names)}
    novelty = {} if said.novelty is None else {NOVELTY: said.novelty}
    return pd.DataFrame({"path": list(held_out.paths), **columns, **novelty})


def read_outputs(path: Path, held_out: HeldOutSet, trust: FittedTrust) -> ModelOutputs:
    """What :func:`outputs_frame` wrote of these test images.

    Raises:
        DataError: it is missing, or of other images.
    """
    import pandas as pd

    again = "run `.venv/bin/dvc repro`"
    if not path.exists():
        raise DataError("the model was not run on the test images yet", where=path, remedy=again)
    table = pd.read_parquet(path)
    names = [f"{OUTPUT}{name}" for name in held_out.task.outputs(held_out.classes)]
    if tuple(table["path"]) != held_out.paths or not set(names) <= set(table):
        raise DataError("the table of the model's outputs is of other images", where=path, remedy=again)
    novelty = table[NOVELTY].to_numpy(np.float64) if NOVELTY in table else None
    return ModelOutputs(table[names].to_numpy(np.float64), trust, novelty)
