"""A client of the service, on the standard library alone: ask it about images, correct it, read its model's card.

    client = Client("http://127.0.0.1:3000")
    answer = client.predict(Path("photo.jpg"))
    client.feedback(answer.id, "bee")

Nothing is asked of anybody but the service at the address that was given; redirections are not followed.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graft.connection import Connection
from graft.errors import DataError, ServiceError

API_KEY = "GRAFT_API_KEY"
IN_FLIGHT = 4


@dataclass(frozen=True)
class Answer:
    """What the service says of one image.

    Attributes:
        label: the most probable class.
        probabilities: calibrated, of every class, most probable first; they sum to one.
        unsure: the label's probability is under the model's threshold.
        novelty: how unlike the training images it is, over 1 unlike; None where the model cannot tell.
        model: name, version and origin of the model that answered.
        id: what the service calls this answer, for :meth:`Client.feedback`; None where it keeps none.
    """

    label: str
    probabilities: Mapping[str, float]
    unsure: bool
    novelty: float | None
    model: Mapping[str, str]
    id: str | None = None


@dataclass(frozen=True)
class Card:
    """What the service says of its model.

    Attributes:
        name: in the model store.
        version: 12 hexadecimal digits; the same version is the same model.
        classes: their names.
        size: side of the images it looks at, in pixels.
        metrics: figures from its test images, such as ``accuracy`` and ``accuracy_ci95``.
        everything: the whole card as the service gave it.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    size: int
    metrics: Mapping[str, Any]
    everything: Mapping[str, Any]


@dataclass(frozen=True)
class Client:
    """The service at ``url``, which may end in a path.

    Attributes:
        url: such as ``http://127.0.0.1:3000``.
        api_key: sent where it is not empty; as a rule that of the variable ``GRAFT_API_KEY``.
        timeout: seconds that an answer may take.

    Raises:
        ServiceError: ``url`` is no address of a service.
    """

    url: str
    api_key: str = field(default_factory=lambda: os.environ.get(API_KEY, ""), repr=False)
    timeout: float = 60.0

    _connection: Connection = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Here, so that a wrong address is refused now and not at the first question.
        object.__setattr__(self, "_connection", Connection(self.url, self.api_key, self.timeout))

    def predict(self, file: Path) -> Answer:
        """Ask about one image file.

        Raises:
            DataError: the file cannot be read, or the service refuses it (no image, damaged, too large).
            ServiceError: the service is not there, wants another key, stays busy, or fails.
        """
        from graft.images.decode import read_bytes

        said = self._connection.send_file("predict", "image", file, read_bytes(file))
        try:
            probabilities = {str(name): float(share) for name, share in said["probabilities"].items()}
            novelty = None if said["novelty"] is None else float(said["novelty"])
            return Answer(said["label"], probabilities, bool(said["unsure"]), novelty, said["model"], said.get("id"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._unknown(error) from None

    def predict_many(self, files: Iterable[Path], in_flight: int = IN_FLIGHT) -> Iterator[Answer | DataError]:
        """Ask about many, a few at a time; yields what is said of each in their order, a DataError for a refused one.

        Args:
            files: read as they are needed, not all at once.
            in_flight: requests at a time, at least 1.

        Raises:
            ServiceError: as :meth:`predict`; those not yet asked about are left.
        """

        def ask(file: Path) -> Answer | DataError:
            try:
                return self.predict(file)
            except DataError as refused:
                return refused

        waiting: deque[Future[Answer | DataError]] = deque()
        with ThreadPoolExecutor(in_flight) as pool:
            try:
                for file in files:
                    waiting.append(pool.submit(ask, file))
                    if len(waiting) >= in_flight:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def feedback(self, answer: str, label: str) -> None:
        """Tell the service the right ``label`` of the answer with that ``id``; a later one replaces it.

        Raises:
            DataError: it has no such answer, or no such class.
            ServiceError: as :meth:`predict`.
        """
        self._connection.send_json("feedback", {"id": answer, "label": label})

    def model(self) -> Card:
        """The card of the model that answers.

        Raises:
            ServiceError: as :meth:`predict`.
        """
        card = self._connection.get("model")
        try:
            classes, size = tuple(card["classes"]), int(card["size"])
            return Card(card["name"], card["version"], classes, size, dict(card["metrics"]), card)
        except (KeyError, TypeError, ValueError) as error:
            raise self._unknown(error) from None

    def _unknown(self, error: Exception) -> ServiceError:
        return ServiceError(
            f"the service answers otherwise than this client expects: {error!r}",
            where=self.url,
            remedy="use the same version of graft on both sides",
        )
