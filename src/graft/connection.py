"""One request to a service of graft and its answer, on the standard library: patience, limits, refusals in words.

It connects to the host that was named and to no other: redirections are refused, and no proxy is asked.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from graft.errors import DataError, GraftError, ServiceError

_TRIES_WHEN_BUSY = 5
_LONGEST_WAIT = 30.0  # seconds
_MOST_ANSWERED = 64 << 20  # bytes; the card of a model with a million classes is smaller
_BUSY = {429, 503}
# What it says no to because of what was sent, not because of how or to whom.
_ABOUT_WHAT_WAS_SENT = {400, 413, 422}


@dataclass(frozen=True)
class Connection:
    """The service at ``url``.

    Attributes:
        url: ``http://`` or ``https://``, a host, and if wanted a port and a path.
        api_key: sent as a bearer's, where it is not empty.
        timeout: seconds without a byte after which it is given up.

    Raises:
        ServiceError: ``url`` is no such address.
    """

    url: str
    api_key: str = field(repr=False)
    timeout: float
    _address: SplitResult = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_address", _address(self.url))
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ServiceError("the API key has characters that cannot be sent", remedy="see what GRAFT_API_KEY holds")

    def get(self, name: str) -> dict[str, Any]:
        """The JSON object at ``name``. Raises ServiceError."""
        return self._ask("GET", name, None, {}, None)

    def send_json(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """What is answered to a JSON object. Raises DataError where it is refused, ServiceError otherwise."""
        return self._ask("POST", name, json.dumps(values).encode(), {"Content-Type": "application/json"}, None)

    def send_file(self, name: str, part: str, file: Path, content: bytes) -> dict[str, Any]:
        """What is answered to a form with one file. Raises DataError where it is refused, ServiceError otherwise."""
        boundary = secrets.token_hex(16)
        shown = quote(file.name, safe=" ")  # no quote and no line break gets out of the header
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{part}"; filename="{shown}"\r\n\r\n'
        body = b"".join([head.encode(), content, f"\r\n--{boundary}--\r\n".encode()])
        return self._ask("POST", name, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}, file)

    def _ask(
        self, method: str, name: str, body: bytes | None, headers: Mapping[str, str], about: Path | None
    ) -> dict[str, Any]:
        if self.api_key:
            headers = {**headers, "Authorization": f"Bearer {self.api_key}"}
        for left in reversed(range(_TRIES_WHEN_BUSY)):
            status, wait, data = self._once(method, f"{self._address.path}/{name}", body, headers)
            if status not in _BUSY or not left:
                break
            time.sleep(wait)
        if status != 200:
            raise self._refusal(status, data, name, about)
        said = _object(data)
        if said is None:
            raise self._no_service(f"what it answers to /{name} is not what graft's service answers")
        return said

    def _once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, float, bytes]:
        """Status, seconds to wait if it is busy, and body of the answer."""
        kind = HTTPSConnection if self._address.scheme == "https" else HTTPConnection
        connection = kind(self._address.hostname or "", self._address.port, timeout=self.timeout)
        try:
            # A body that is refused is not read to its end; why, the answer says.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, _wait(response), response.read(_MOST_ANSWERED)
        except TimeoutError:
            raise ServiceError(
                f"the service did not answer in {self.timeout:g} s",
                where=self.url,
                remedy="see whether it is overloaded, or wait longer",
            ) from None
        except (OSError, HTTPException) as error:
            raise ServiceError(
                f"the service cannot be reached: {getattr(error, 'strerror', None) or error or type(error).__name__}",
                where=self.url,
                remedy="start it with `make serve`, or name the address where it is",
            ) from None
        finally:
            connection.close()

    def _refusal(self, status: int, data: bytes, name: str, about: Path | None) -> GraftError:
        said = _object(data) or {}
        what, remedy = _plain(said.get("error")), _plain(said.get("remedy"))
        # 404 with a reason is about what was named in it; without one, nothing of graft's is at this path.
        if status in _ABOUT_WHAT_WAS_SENT or (status == 404 and what and name == "feedback"):
            return DataError(what or f"the service refuses it ({status})", where=about, remedy=remedy)
        if status == 401:
            asked = remedy or "set GRAFT_API_KEY to the key that the service was started with"
            return ServiceError(what or "the service asks for an API key", where=self.url, remedy=asked)
        if status == 403 and what:
            return ServiceError(what, where=self.url, remedy=remedy)
        if status in _BUSY:
            return ServiceError(
                what or "the service is busy, and stayed so", where=self.url, remedy=remedy or "ask again later"
            )
        if 300 <= status < 400:
            return ServiceError(
                "the service sends one elsewhere, which is not followed",
                where=self.url,
                remedy="name the address where the service itself is",
            )
        if status >= 500:
            return ServiceError(
                what or f"the service failed ({status})", where=self.url, remedy=remedy or "see what its log says"
            )
        return self._no_service(f"it answered /{name} with {status}")

    def _no_service(self, why: str) -> ServiceError:
        return ServiceError(
            f"there is no service of graft here: {why}",
            where=self.url,
            remedy="name the address that `make serve` prints, such as http://127.0.0.1:3000",
        )


def _address(url: str) -> SplitResult:
    """The parts of an address, its path without a slash at the end."""
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
    return parts._replace(path=parts.path.rstrip("/"))


def _wait(response: HTTPResponse) -> float:
    """The seconds that a busy service asks for; one, where it does not say."""
    asked = response.getheader("Retry-After") or ""
    return min(float(asked), _LONGEST_WAIT) if asked.isdecimal() and asked.isascii() else 1.0


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(data)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _plain(said: object) -> str | None:
    """A text of somebody else's, so that it can be shown on a terminal."""
    if not isinstance(said, str) or not said:
        return None
    return "".join(letter if letter.isprintable() else " " for letter in said[:1000])
