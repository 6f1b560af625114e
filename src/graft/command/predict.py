"""`graft predict`: label and probabilities of image files, and whether to trust them; by a model or by a service."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.errors import DataError, each

if TYPE_CHECKING:
    from graft import client
    from graft.predict import Predictor

_SHOWN = 3


@dataclass(frozen=True)
class Answer:
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


def predict_files(files: Sequence[Path], model: Path | None, as_json: bool) -> None:
    """Print a line per file; files that are no images are named on stderr and make the command fail at its end.

    Args:
        files: to be answered for, in this order.
        model: the model's folder; None: the model in use, which is the one that the service answers by.
        as_json: an object per file, in place of words.

    Raises:
        WeightsError: there is no model.
        DataError: a file could not be decoded; the others were still answered.
    """
    from graft.packaged import title_of
    from graft.predict import Predictor
    from graft.workspace import Workspace

    folder = Workspace.find().in_use if model is None else model
    predictor = Predictor.load(folder)
    title = title_of(folder)
    show = _printer(as_json, f"in {folder}")
    each(files, lambda file: show(_answer(predictor, file, title)), DataError)


def ask_service(files: Sequence[Path], url: str, as_json: bool) -> None:
    """The same by the service at ``url``.

    Raises:
        ServiceError: it cannot be asked.
        DataError: it refused a file; the others were still answered.
    """
    from graft.client import Client

    show = _printer(as_json, f"at {url}")
    answers = zip(files, Client(url).predict_many(files), strict=True)
    each(answers, lambda one: show(_answered(*one)), DataError)


def _printer(as_json: bool, place: str) -> Callable[[Answer], None]:
    """What prints an answer; people are told once, on stderr, which model gave it. A service may change its model."""
    told: set[str] = set()

    def show(answer: Answer) -> None:
        if not as_json and answer.model not in told:
            told.add(answer.model)
            print(f"by {answer.model} {place}", file=sys.stderr, flush=True)
        print(_as_json(answer) if as_json else _as_text(answer), flush=True)

    return show


def _answer(predictor: Predictor, file: Path, title: str) -> Answer:
    said = predictor.answer([predictor.prepare(file)])
    ranked = sorted(zip(predictor.classes, said.probabilities[0].tolist(), strict=True), key=lambda pair: -pair[1])
    novelty = None if said.novelty is None else float(said.novelty[0])
    return _of(file, dict(ranked), bool(predictor.is_unsure(said.probabilities)[0]), novelty, title)


def _answered(file: Path, said: client.Answer | DataError) -> Answer:
    if isinstance(said, DataError):
        raise said
    title = ":".join(str(said.model.get(key, "?")) for key in ("name", "version"))
    return _of(file, dict(said.probabilities), said.unsure, said.novelty, title)


def _of(file: Path, probabilities: dict[str, float], unsure: bool, novelty: float | None, model: str) -> Answer:
    return Answer(
        file=str(file),
        label=next(iter(probabilities)),
        probabilities=probabilities,
        unsure=unsure,
        novelty=novelty,
        unlike=None if novelty is None else novelty > 1,
        model=model,
    )


def _as_json(answer: Answer) -> str:
    return json.dumps(asdict(answer), ensure_ascii=False)


def _as_text(answer: Answer) -> str:
    best = list(answer.probabilities.items())[:_SHOWN]
    said = answer.label + (", not sure" if answer.unsure else "")
    said += f", unlike the training images (novelty {answer.novelty:.1f}, 1 is the limit)" if answer.unlike else ""
    return f"{answer.file}: {said}  ({', '.join(f'{name} {100 * share:.1f} %' for name, share in best)})"
