"""The flow that runs a DVC experiment with other settings in a copy of the project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefect import State, flow, get_run_logger
from prefect.states import Completed

from flows.graph import run_dvc
from flows.pipeline import failed
from graft.core.errors import GraftError


@flow(name="graft-experiment", flow_run_name="experiment: {params}")
def experiment(params: dict[str, Any], root: str = ".") -> State[Any]:
    """Run the pipeline with other settings as ``dvc exp run --temp -S KEY=VALUE``; needs a git checkout.

    The result is in ``dvc exp show`` with the gate's verdict, and is neither served nor promoted.

    Args:
        params: keys of params.yaml and their values, such as ``{"train.learning_rate": 0.001}``.
        root: the folder that holds dvc.yaml.
    """
    options = [part for key, value in params.items() for part in ("-S", f"{key}={_text(value)}")]
    log = get_run_logger()
    try:
        run_dvc(Path(root).resolve(), "the experiment failed", log.info, "exp", "run", "--temp", *options)
    except GraftError as error:
        return failed(error)
    return Completed(message="`dvc exp show` has its result, `dvc exp apply` takes it over")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
