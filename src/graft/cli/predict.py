"""`graft predict`: label and probabilities of image files, and whether to trust them; by a model or by a service."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from graft.cli.input_files import image_files
from graft.core.errors import DataError, each

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from graft import client
    from graft.inference.served_model import ServedModel

_SHOWN = 3
_BATCH = 64  # images that are decoded side by side and run together


@dataclass(frozen=True)
class FilePrediction:
    """What is said of one file, as `--json` has it.

    Attributes:
        file: as it was named.
        label: the most probable class.
        probabilities: of every class, calibrated, most probable first.
        unsure: the label's probability is under the model's threshold.
        novelty: how unlike the training images it is, over 1 unlike; None where the model cannot tell.
        unlike: ``novelty`` is over 1; None where that is None.
        model: which one answered, as ``name:version``.
    """

    file: str
    label: str
    probabilities: dict[str, float]
    unsure: bool
    novelty: float | None
    unlike: bool | None
    model: str


def predict_files(names: Sequence[str], model: Path | None, as_json: bool, to: Path | None) -> None:
    """Print a line per file; files that are no images are named on stderr and make the command fail at its end.

    Args:
        names: files, folders, patterns, or ``-`` for a list on standard input; answered for in this order.
        model: the model's folder; None: the model in use, which is the one that the service answers by.
        as_json: an object per file, in place of words.
        to: a .parquet file to write the answers to, in place of words.

    Raises:
        WeightsError: there is no model.
        DataError: a file could not be decoded, the others were still answered; or ``to`` is somebody else's file.
    """
    from graft.core.determinism import available_cores
    from graft.core.workspace import Workspace
    from graft.inference.engines import QUICK_START
    from graft.inference.package import title_of
    from graft.inference.served_model import ServedModel

    folder = Workspace.find().production_model if model is None else model
    check_replaceable(to)
    cores = available_cores()
    loaded = ServedModel.load(folder, cores, QUICK_START)
    _tell(_answers(loaded, image_files(names), title_of(folder), cores), as_json, f"in {folder}", to)


def ask_service(names: Sequence[str], url: str, as_json: bool, to: Path | None) -> None:
    """The same by the service at ``url``.

    Raises:
        ServiceError: it cannot be asked.
        DataError: it refused a file, the others were still answered; or ``to`` is somebody else's file.
    """
    from graft.client import Client

    check_replaceable(to)
    files = list(image_files(names))
    said = Client(url).predict_many(file for file in files if isinstance(file, Path))
    answers = (_answered(file, next(said)) if isinstance(file, Path) else file for file in files)
    _tell(answers, as_json, f"at {url}", to)


def check_replaceable(to: Path | None) -> None:
    """Raise DataError if there is a file at ``to`` that an earlier prediction did not write."""
    if to is None or not to.exists():
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        is_ours = set(pq.read_schema(to).names) == {field.name for field in fields(FilePrediction)}
    except (OSError, pa.ArrowInvalid):
        is_ours = False
    if not is_ours:
        raise DataError("this file holds something else, and is not replaced", where=to, remedy="give --to a new name")


def _tell(answers: Iterable[FilePrediction | DataError], as_json: bool, place: str, to: Path | None) -> None:
    """Print the answers, or write them down, and name what was refused."""
    kept: list[FilePrediction] = []
    show = _printer(as_json, place)

    def take(answer: FilePrediction | DataError) -> None:
        if isinstance(answer, DataError):
            raise answer
        if to is None or as_json:
            show(answer)
        if to is not None:
            kept.append(answer)

    try:
        each(answers, take, DataError)
    except DataError:
        _write(kept, to)
        raise
    _write(kept, to)


def _write(answers: Sequence[FilePrediction], to: Path | None) -> None:
    if to is None or not answers:
        return
    import pandas as pd

    from graft.core.files import atomic_file

    with atomic_file(to) as beside:
        pd.DataFrame([asdict(answer) for answer in answers]).to_parquet(beside, index=False)
    print(f"{len(answers):,} answers written to {to}", file=sys.stderr)


def _printer(as_json: bool, place: str) -> Callable[[FilePrediction], None]:
    """What prints an answer; people are told once, on stderr, which model gave it. A service may change its model."""
    told: set[str] = set()

    def show(answer: FilePrediction) -> None:
        if not as_json and answer.model not in told:
            told.add(answer.model)
            print(f"by {answer.model} {place}", file=sys.stderr, flush=True)
        print(_as_json(answer) if as_json else _as_text(answer), flush=True)

    return show


def _answers(
    model: ServedModel, files: Iterable[Path | DataError], title: str, cores: int
) -> Iterator[FilePrediction | DataError]:
    """What a model says of each file, in their order: decoded side by side, and run in batches."""
    remaining = iter(files)
    with ThreadPoolExecutor(cores) as pool:
        while batch := list(itertools.islice(remaining, _BATCH)):
            prepared = list(pool.map(lambda file: _prepared(model, file), batch))
            said = model.predict_batch([image for image in prepared if not isinstance(image, DataError)])
            unsure = model.abstains(said.probabilities)
            row = 0
            for file, image in zip(batch, prepared, strict=True):
                if isinstance(image, DataError):
                    yield image
                    continue
                assert isinstance(file, Path), "what is no file was prepared as none"
                shares = zip(model.classes, said.probabilities[row].tolist(), strict=True)
                novelty = None if said.novelty is None else float(said.novelty[row])
                yield _of(file, dict(sorted(shares, key=lambda pair: -pair[1])), bool(unsure[row]), novelty, title)
                row += 1


def _prepared(model: ServedModel, file: Path | DataError) -> NDArray[np.uint8] | DataError:
    """The image as the network takes it, or why there is none."""
    if isinstance(file, DataError):
        return file
    try:
        return model.preprocess(file)
    except DataError as error:
        return error


def _answered(file: Path, said: client.Prediction | DataError) -> FilePrediction | DataError:
    if isinstance(said, DataError):
        return said
    title = ":".join(str(said.model.get(key, "?")) for key in ("name", "version"))
    return _of(file, dict(said.probabilities), said.unsure, said.novelty, title)


def _of(file: Path, probabilities: dict[str, float], unsure: bool, novelty: float | None, model: str) -> FilePrediction:
    return FilePrediction(
        file=str(file),
        label=next(iter(probabilities)),
        probabilities=probabilities,
        unsure=unsure,
        novelty=novelty,
        unlike=None if novelty is None else novelty > 1,
        model=model,
    )


def _as_json(answer: FilePrediction) -> str:
    return json.dumps(asdict(answer), ensure_ascii=False)


def _as_text(answer: FilePrediction) -> str:
    best = list(answer.probabilities.items())[:_SHOWN]
    said = answer.label + (", not sure" if answer.unsure else "")
    said += f", unlike the training images (novelty {answer.novelty:.1f}, 1 is the limit)" if answer.unlike else ""
    return f"{answer.file}: {said}  ({', '.join(f'{name} {100 * share:.1f} %' for name, share in best)})"
