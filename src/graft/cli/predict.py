"""`graft predict`: label and probabilities of image files, by a model or by a service."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.cli.input_files import sample_files
from graft.core.errors import DataError, each

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.inference.served_model import ServedModel

_SHOWN = 3  # classes in the text for people
_BATCH = 64  # images that are decoded in parallel and predicted together


@dataclass(frozen=True)
class FilePrediction:
    """The prediction for one file, as `--json` has it.

    Attributes:
        file: its name as it was given.
        label: the most probable class.
        probabilities: of every class, calibrated, most probable first.
        unsure: whether the label's probability is under the model's threshold.
        novelty: how unlike the training images it is, over 1 unlike; None without novelty detection.
        unlike: whether ``novelty`` is over 1; None where that is None.
        model: the model, as ``name:version``.
    """

    file: str
    label: str
    probabilities: dict[str, float]
    unsure: bool
    novelty: float | None
    unlike: bool | None
    model: str

    @classmethod
    def of(
        cls, file: Path, probabilities: dict[str, float], unsure: bool, novelty: float | None, model: str
    ) -> FilePrediction:
        """Sort the probabilities, and derive the label from them and ``unlike`` from the novelty."""
        ranked = dict(sorted(probabilities.items(), key=lambda pair: -pair[1]))
        unlike = None if novelty is None else novelty > 1
        return cls(str(file), next(iter(ranked)), ranked, unsure, novelty, unlike, model)

    def text(self) -> str:
        """For people."""
        best = list(self.probabilities.items())[:_SHOWN]
        told = self.label + (", not sure" if self.unsure else "")
        told += f", unlike the training images (novelty {self.novelty:.1f}, 1 is the limit)" if self.unlike else ""
        return f"{self.file}: {told}  ({', '.join(f'{name} {100 * share:.1f} %' for name, share in best)})"


@dataclass
class Output:
    """Where predictions go: the terminal, JSON lines, or a table.

    Attributes:
        as_json: print an object per file.
        to: a .parquet file to write; None to print.
        place: where the model is, for people.
    """

    as_json: bool
    to: Path | None
    place: str
    _rows: list[FilePrediction] = field(default_factory=list)
    _models: set[str] = field(default_factory=set)

    def write_all(self, predictions: Iterable[FilePrediction | DataError]) -> None:
        """Print or write the predictions.

        Raises:
            DataError: for files that could not be predicted, after all others.
        """
        try:
            each(predictions, self._add, DataError)
        finally:
            self._write_table()

    def _add(self, prediction: FilePrediction | DataError) -> None:
        if isinstance(prediction, DataError):
            raise prediction
        if self.to is not None:
            self._rows.append(prediction)
        if self.as_json:
            print(json.dumps(asdict(prediction), ensure_ascii=False), flush=True)
        elif self.to is None:
            if prediction.model not in self._models:  # a service may change its model
                self._models.add(prediction.model)
                print(f"by {prediction.model} {self.place}", file=sys.stderr, flush=True)
            print(prediction.text(), flush=True)

    def _write_table(self) -> None:
        if self.to is None or not self._rows:
            return
        import pandas as pd

        from graft.core.files import atomic_file

        with atomic_file(self.to) as beside:
            pd.DataFrame([asdict(row) for row in self._rows]).to_parquet(beside, index=False)
        print(f"{len(self._rows):,} answers written to {self.to}", file=sys.stderr)


def predict_files(names: Sequence[str], model: Path | None, as_json: bool, to: Path | None) -> None:
    """Predict image files by a model.

    Args:
        names: files, folders, patterns, or ``-`` for a list on standard input.
        model: the model's folder; None: the production model, which the service uses too.
        as_json: print an object per file.
        to: a .parquet file to write.

    Raises:
        WeightsError: there is no model.
        DataError: a file could not be decoded, the others were predicted; or ``to`` is not a table of predictions.
    """
    from graft.core.determinism import available_cores
    from graft.core.workspace import Workspace
    from graft.inference.engines import QUICK_START
    from graft.inference.package import title_of
    from graft.inference.served_model import ServedModel
    from graft.modalities.registry import modality_of

    folder = Workspace.find().production_model if model is None else model
    check_replaceable(to)
    cores = available_cores()
    loaded = ServedModel.load(folder, cores, QUICK_START)
    files = sample_files(names, modality_of(loaded.artifact.preprocessing))
    Output(as_json, to, f"in {folder}").write_all(_predictions(loaded, files, title_of(folder), cores))


def ask_service(names: Sequence[str], url: str, as_json: bool, to: Path | None) -> None:
    """Predict image files by the service at ``url``.

    Raises:
        ServiceError: the service cannot be asked.
        DataError: it refused a file, the others were predicted; or ``to`` is not a table of predictions.
    """
    from graft.client import Client
    from graft.modalities.registry import find_modality

    check_replaceable(to)
    modality = find_modality(Client(url).model().modality)
    client, files = Client(url, modality=modality.name), list(sample_files(names, modality))
    responses = client.predict_many(file for file in files if isinstance(file, Path))

    def predictions() -> Iterator[FilePrediction | DataError]:
        for file in files:
            if isinstance(file, DataError):
                yield file
                continue
            if isinstance(response := next(responses), DataError):
                yield response
                continue
            title = ":".join(str(response.model.get(key, "?")) for key in ("name", "version"))
            yield FilePrediction.of(file, dict(response.probabilities), response.unsure, response.novelty, title)

    Output(as_json, to, f"at {url}").write_all(predictions())


def check_replaceable(to: Path | None) -> None:
    """Raise DataError if there is a file at ``to`` that is not a table of predictions."""
    if to is None or not to.exists():
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        is_ours = set(pq.read_schema(to).names) == {column.name for column in fields(FilePrediction)}
    except (OSError, pa.ArrowInvalid):
        is_ours = False
    if not is_ours:
        raise DataError("this file holds something else, and is not replaced", where=to, remedy="give --to a new name")


def _predictions(
    model: ServedModel, files: Iterable[Path | DataError], title: str, cores: int
) -> Iterator[FilePrediction | DataError]:
    """A prediction or an error per file, in their order; decoded in parallel, predicted in batches."""
    remaining = iter(files)
    with ThreadPoolExecutor(cores) as pool:
        while batch := list(itertools.islice(remaining, _BATCH)):
            inputs = list(pool.map(lambda file: _preprocess(model, file), batch))
            found = model.predict_batch([image for image in inputs if not isinstance(image, DataError)])
            unsure = model.abstains(found.outputs)
            row = 0
            for file, image in zip(batch, inputs, strict=True):
                if isinstance(image, DataError):
                    yield image
                    continue
                assert isinstance(file, Path), "an error has no image"
                probabilities = dict(zip(model.classes, found.outputs[row].tolist(), strict=True))
                novelty = None if found.novelty is None else float(found.novelty[row])
                yield FilePrediction.of(file, probabilities, bool(unsure[row]), novelty, title)
                row += 1


def _preprocess(model: ServedModel, file: Path | DataError) -> NDArray[Any] | DataError:
    if isinstance(file, DataError):
        return file
    try:
        return model.preprocess(file)
    except DataError as error:
        return error
