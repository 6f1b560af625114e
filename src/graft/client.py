"""A client of the service.

    client = Client("http://127.0.0.1:3000")
    prediction = client.predict(Path("photo.jpg"))
    client.feedback(prediction.id, "bee")

It connects to the address that is given and no other: redirects are not followed, no proxy is used.
"""

from __future__ import annotations

import os
import re
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from graft.core.errors import DataError, GraftError, ServiceError

if TYPE_CHECKING:
    import httpx

API_KEY = "GRAFT_API_KEY"
IN_FLIGHT = 4
_ATTEMPTS = 5
_LONGEST_WAIT = 30.0  # seconds
_BUSY = {429, 503}
_BAD_REQUEST = {400, 413, 422}
_NAME_IT = "name the address that `make serve` prints, such as http://127.0.0.1:3000"


@dataclass(frozen=True)
class Prediction:
    """What the service predicts for one image.

    Attributes:
        label: the most probable class.
        probabilities: calibrated, of every class, most probable first; they sum to one.
        unsure: the label's probability is under the model's threshold.
        novelty: how unlike the training images it is, over 1 unlike; None where the model cannot tell.
        model: name, version and origin of the model.
        id: the prediction's id, for :meth:`Client.feedback`.
    """

    label: str
    probabilities: Mapping[str, float]
    unsure: bool
    novelty: float | None
    model: Mapping[str, str]
    id: str


@dataclass(frozen=True)
class ModelInfo:
    """What the service says of its model.

    Attributes:
        name: in the model store.
        version: 12 hexadecimal digits; the same version is the same model.
        classes: their names.
        modality: what a sample is, such as ``image``.
        size: of the network's input; of images the side in pixels.
        metrics: figures from its test images, such as ``accuracy`` and ``accuracy_ci95``.
        everything: the whole response.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    modality: str
    size: int
    metrics: Mapping[str, Any]
    everything: Mapping[str, Any]


@dataclass(frozen=True)
class Client:
    """The service at ``url``, which may end in a path.

    Attributes:
        url: such as ``http://127.0.0.1:3000``.
        api_key: sent where it is not empty; by default that of the variable ``GRAFT_API_KEY``.
        timeout: seconds that a response may take.
        modality: what the service's samples are; its model's card says it.

    Raises:
        ServiceError: ``url`` is no address of a service, or the key cannot be sent.
    """

    url: str
    api_key: str = field(default_factory=lambda: os.environ.get(API_KEY, ""), repr=False)
    timeout: float = 60.0
    modality: str = "image"
    _http: httpx.Client = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        import httpx

        _check_url(self.url)
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ServiceError("the API key has characters that cannot be sent", remedy="see what GRAFT_API_KEY holds")
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        http = httpx.Client(base_url=self.url, headers=headers, timeout=self.timeout, trust_env=False)
        object.__setattr__(self, "_http", http)
        weakref.finalize(self, http.close)

    def predict(self, file: Path) -> Prediction:
        """Predict one file.

        Raises:
            DataError: the file cannot be read, or the service refuses it (no image, damaged, too large).
            ServiceError: the service is not there, wants another key, stays busy, or fails.
        """
        from graft.core.packed_files import read_bytes
        from graft.modalities.base import FileField
        from graft.modalities.registry import find_modality

        request, raw = find_modality(self.modality).request, read_bytes(file)
        if isinstance(request, FileField):
            said = self._request("POST", "predict", file, files={request.name: (file.name, raw)})
        else:
            said = self._request("POST", "predict", file, json={request.name: raw.decode("utf-8", "replace")})
        try:
            probabilities = {str(name): float(share) for name, share in said["probabilities"].items()}
            novelty = None if said["novelty"] is None else float(said["novelty"])
            return Prediction(said["label"], probabilities, bool(said["unsure"]), novelty, said["model"], said["id"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._other_version(error) from None

    def predict_many(self, files: Iterable[Path], in_flight: int = IN_FLIGHT) -> Iterator[Prediction | DataError]:
        """Predict many files, a few requests at a time; yields in their order, a DataError for a refused one.

        Args:
            files: read as they are needed, not all at once.
            in_flight: requests at a time, at least 1.

        Raises:
            ServiceError: as :meth:`predict`; the remaining files are not sent.
        """

        def ask(file: Path) -> Prediction | DataError:
            try:
                return self.predict(file)
            except DataError as refused:
                return refused

        waiting: deque[Future[Prediction | DataError]] = deque()
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

    def feedback(self, prediction: str, label: str) -> None:
        """Send the right ``label`` of the prediction with that id; a later one replaces it.

        Raises:
            DataError: it has no such prediction, or no such class.
            ServiceError: as :meth:`predict`.
        """
        self._request("POST", "feedback", None, json={"id": prediction, "label": label})

    def model(self) -> ModelInfo:
        """What the service says of its model.

        Raises:
            ServiceError: as :meth:`predict`.
        """
        found = self._request("GET", "model", None)
        try:
            classes, size, modality = tuple(found["classes"]), int(found["size"]), found.get("modality", "image")
            return ModelInfo(found["name"], found["version"], classes, modality, size, dict(found["metrics"]), found)
        except (KeyError, TypeError, ValueError) as error:
            raise self._other_version(error) from None

    def _request(self, method: str, path: str, file: Path | None, **body: Any) -> dict[str, Any]:
        """The response's JSON object; a busy service is asked again when it says."""
        for left in reversed(range(_ATTEMPTS)):
            response = self._send(method, path, body)
            if response.status_code not in _BUSY or not left:
                break
            time.sleep(_retry_after(response))
        said = _json_object(response)
        if response.status_code != 200:
            raise self._refusal(response.status_code, said or {}, path, file)
        if said is None:
            raise self._no_service(f"what it answers to /{path} is not what graft's service answers")
        return said

    def _send(self, method: str, path: str, body: Mapping[str, Any]) -> httpx.Response:
        import httpx

        try:
            return self._http.request(method, path, **body)
        except httpx.TimeoutException:
            raise ServiceError(
                f"the service did not answer in {self.timeout:g} s",
                where=self.url,
                remedy="see whether it is overloaded, or wait longer",
            ) from None
        except httpx.HTTPError as error:
            reason = re.sub(r"^\[Errno \d+\] ", "", str(error)) or type(error).__name__
            raise ServiceError(
                f"the service cannot be reached: {reason}",
                where=self.url,
                remedy="start it with `make serve`, or name the address where it is",
            ) from None

    def _refusal(self, status: int, said: Mapping[str, Any], path: str, file: Path | None) -> GraftError:
        what, remedy = _printable(said.get("error")), _printable(said.get("remedy"))
        # 404 with a reason is about the prediction that was named; without one, no service of graft is at this path.
        if status in _BAD_REQUEST or (status == 404 and what and path == "feedback"):
            return DataError(what or f"the service refuses it ({status})", where=file, remedy=remedy)
        if 300 <= status < 400:
            what, remedy = (
                "the service redirects, which is not followed",
                "name the address where the service itself is",
            )
        elif status in _DEFAULTS:
            what, remedy = what or _DEFAULTS[status][0], remedy or _DEFAULTS[status][1]
        elif status >= 500:
            what, remedy = what or f"the service failed ({status})", remedy or "see what its log says"
        else:
            return self._no_service(f"it answered /{path} with {status}")
        return ServiceError(what, where=self.url, remedy=remedy)

    def _no_service(self, why: str) -> ServiceError:
        return ServiceError(f"there is no service of graft here: {why}", where=self.url, remedy=_NAME_IT)

    def _other_version(self, error: Exception) -> ServiceError:
        return ServiceError(
            f"the service answers otherwise than this client expects: {error!r}",
            where=self.url,
            remedy="use the same version of graft on both sides",
        )


# What and remedy of refusals whose response names neither.
_DEFAULTS = {
    401: ("the service asks for an API key", "set GRAFT_API_KEY to the key that the service was started with"),
    403: ("the service refuses this address or key", "see what its log says"),
    **dict.fromkeys(_BUSY, ("the service is busy, and stayed so", "ask again later")),
}


def _check_url(url: str) -> None:
    """Raise ServiceError unless ``url`` is http(s), a host, and if wanted a port and a path."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        usable = usable and not (parts.query or parts.fragment or parts.username or parts.password)
        usable = usable and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        usable = False
    if not usable:
        raise ServiceError(
            "this is not the address of a service",
            where=url,
            remedy="write it as http://127.0.0.1:3000; a key goes into GRAFT_API_KEY",
        )


def _retry_after(response: httpx.Response) -> float:
    """Seconds that a busy service asks for; one, where it does not say."""
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_WAIT) if asked.isdecimal() and asked.isascii() else 1.0


def _json_object(response: httpx.Response) -> dict[str, Any] | None:
    try:
        said = response.json()
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _printable(said: object) -> str | None:
    """Another machine's text, so that it can be shown on a terminal."""
    if not isinstance(said, str) or not said:
        return None
    return "".join(letter if letter.isprintable() else " " for letter in said[:1000])
