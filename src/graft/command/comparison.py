"""What `graft compare` is asked to compare: it looks at what its arguments are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from graft.errors import ConfigError


def comparison_of(what: Sequence[str], data: str | None, as_json: bool) -> Callable[[], None]:
    """The comparison that is meant: of two models, or of the candidates on data sets.

    Args:
        what: folders with a model, or whatever ``data.source`` could be.
        data: the images that two models are compared on.
        as_json: print one JSON object.

    Raises:
        ConfigError: models and data are mixed, or their number or ``data`` does not fit.
    """
    from graft.artifact import CARD_FILE

    models = [item for item in what if (Path(item) / CARD_FILE).is_file()]
    if not models:
        if data is not None:
            raise ConfigError(
                f"--data is for comparing two models, and there is no {CARD_FILE} in {what[0]}",
                remedy="name two folders with a model, or leave --data away to compare the candidates on data sets",
            )
        return _of_data(what, as_json)
    others = [item for item in what if item not in models]
    if others:
        raise ConfigError(
            f"a model cannot be compared with data: {models[0]} holds a {CARD_FILE}, {others[0]} does not",
            remedy="name two folders with a model each and the images with --data, or data sets alone",
        )
    if len(models) != 2:
        raise ConfigError(f"two models are compared, not {len(models)}", remedy="name two folders with a model each")
    if data is None:
        raise ConfigError(
            "the models need images to be compared on", remedy="name them with --data, such as --data DIR"
        )
    from graft.command.compare import compare_models

    return partial(compare_models, Path(models[0]), Path(models[1]), data, as_json)


def _of_data(sources: Sequence[str], as_json: bool) -> Callable[[], None]:
    from graft.command.compare_data import compare_data

    return partial(compare_data, sources, as_json)
