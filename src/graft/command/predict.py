"""`graft predict`: label and probabilities of image files, and whether to trust them; by a model or by a service."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
    """

    file: str
    label: str
    probabilities: dict[str, float]
    unsure: bool
    novelty: float | None
    unlike: bool | None


def predict_files(files: Sequence[Path], model: Path, as_json: bool) -> None:
    """Print a line per file; files that are no images are named on stderr and make the command fail at its end.

    Raises:
        WeightsError: there is no model.
        DataError: a file could not be decoded; the others were still answered.
    """
    from graft.predict import Predictor

    predictor = Predictor.load(model)
    show = _as_json if as_json else _as_text
    each(files, lambda file: print(show(_answer(predictor, file)), flush=True), DataError)


def ask_service(files: Sequence[Path], url: str, as_json: bool) -> None:
    """The same by the service at ``url``.

    Raises:
        ServiceError: it cannot be asked.
        DataError: it refused a file; the others were still answered.
    """
    from graft.client import Client

    show = _as_json if as_json else _as_text
    answers = zip(files, Client(url).predict_many(files), strict=True)
    each(answers, lambda one: print(show(_answered(*one)), flush=True), DataError)


def _answer(predictor: Predictor, file: Path) -> Answer:
    said = predictor.answer([predictor.prepare(file)])
    ranked = sorted(zip(predictor.classes, said.probabilities[0].tolist(), strict=True), key=lambda pair: -pair[1])
    novelty = None if said.novelty is None else float(said.novelty[0])
    return _of(file, dict(ranked), bool(predictor.is_unsure(said.probabilities)[0]), novelty)


def _answered(file: Path, said: client.Answer | DataError) -> Answer:
    if isinstance(said, DataError):
        raise said
    return _of(file, dict(said.probabilities), said.unsure, said.novelty)


def _of(file: Path, probabilities: dict[str, float], unsure: bool, novelty: float | None) -> Answer:
    return Answer(
        file=str(file),
        label=next(iter(probabilities)),
        probabilities=probabilities,
        unsure=unsure,
        novelty=novelty,
        unlike=None if novelty is None else novelty > 1,
    )


def _as_json(answer: Answer) -> str:
    return json.dumps(asdict(answer), ensure_ascii=False)


def _as_text(answer: Answer) -> str:
    best = list(answer.probabilities.items())[:_SHOWN]
    said = answer.label + (", not sure" if answer.unsure else "")
    said += f", unlike the training images (novelty {answer.novelty:.1f}, 1 is the limit)" if answer.unlike else ""
    return f"{answer.file}: {said}  ({', '.join(f'{name} {100 * share:.1f} %' for name, share in best)})"
