"""`graft predict`: label and probabilities of image files."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from graft.errors import DataError


def predict_files(files: Sequence[Path], model: Path, as_json: bool) -> None:
    """Print a line per file; files that are no images are named on stderr and make the command fail at its end.

    Raises:
        WeightsError: there is no model.
        DataError: a file could not be decoded; the others were still answered.
    """
    from graft.predict import Predictor

    predictor = Predictor.load(model)
    show = _as_json if as_json else _as_text
    failed: list[DataError] = []
    for file in files:
        try:
            probabilities = predictor.predict([file])[0]
        except DataError as error:
            failed.append(error)
            continue
        print(show(file, dict(zip(predictor.classes, map(float, probabilities), strict=True))), flush=True)
    for refusal in failed[:-1]:
        print(f"error: {refusal.message()}", file=sys.stderr)
    if failed:
        raise failed[-1]


def _as_json(file: Path, probabilities: dict[str, float]) -> str:
    label = max(probabilities, key=lambda name: probabilities[name])
    return json.dumps({"file": str(file), "label": label, "probabilities": probabilities}, ensure_ascii=False)


def _as_text(file: Path, probabilities: dict[str, float]) -> str:
    best = sorted(probabilities.items(), key=lambda item: -item[1])[:3]
    return f"{file}: {best[0][0]}  ({', '.join(f'{name} {100 * share:.1f} %' for name, share in best)})"
