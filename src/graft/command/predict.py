"""`graft predict`: label and probabilities of image files, and whether to trust them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.errors import DataError, each

if TYPE_CHECKING:
    from graft.predict import Predictor

_SHOWN = 3


@dataclass(frozen=True)
class Answer:
    """What is said of one file, as `--json` has it.

    Attributes:
        file: as it was named.
        label: the most probable class.
        probabilities: of every class, calibrated.
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


def _answer(predictor: Predictor, file: Path) -> Answer:
    said = predictor.answer([predictor.prepare(file)])
    probabilities = dict(zip(predictor.classes, said.probabilities[0].tolist(), strict=True))
    novelty = None if said.novelty is None else float(said.novelty[0])
    return Answer(
        file=str(file),
        label=max(probabilities, key=lambda name: probabilities[name]),
        probabilities=probabilities,
        unsure=bool(predictor.is_unsure(said.probabilities)[0]),
        novelty=novelty,
        unlike=None if novelty is None else novelty > 1,
    )


def _as_json(answer: Answer) -> str:
    return json.dumps(asdict(answer), ensure_ascii=False)


def _as_text(answer: Answer) -> str:
    best = sorted(answer.probabilities.items(), key=lambda item: -item[1])[:_SHOWN]
    said = answer.label + (", not sure" if answer.unsure else "")
    said += f", unlike the training images (novelty {answer.novelty:.1f}, 1 is the limit)" if answer.unlike else ""
    return f"{answer.file}: {said}  ({', '.join(f'{name} {100 * share:.1f} %' for name, share in best)})"
