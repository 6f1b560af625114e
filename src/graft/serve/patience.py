"""How long a connection may say nothing, and how one is ended: what uvicorn leaves to a proxy in front of it.

uvicorn waits for a request's header for as long as the sender likes: a few hundred connections that send a letter now
and then would hold it for ever. And when it is told to end it closes connections on which a request may just be on its
way. Both are mended in a protocol of our own, which uvicorn takes by the name that stands in its module ``auto``.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http import auto

_LINGER = 0.5  # seconds in which a request that was on its way when the end was called is still answered
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b"
)
_SAID = b'{"error": "the request did not arrive in time", "remedy": "send it again on a faster connection"}'


def install(header_seconds: float, connections: int) -> None:
    """Have uvicorn use the protocol below from now on; call it before its server is made.

    Args:
        header_seconds: within which the header of a request must have come, counted from the connection or the
            answer before it.
        connections: that are held at once; the one that has asked for nothing for the longest goes for a new one.
    """
    base: Any = getattr(auto.AutoHTTPProtocol, "impatient_base", auto.AutoHTTPProtocol)
    auto.AutoHTTPProtocol = _patient(base, header_seconds, connections)


def _patient(base: Any, header_seconds: float, most: int) -> Any:
    class PatientProtocol(base):  # type: ignore[misc]  # whichever of uvicorn's two implementations there is
        impatient_base = base
        deadline: asyncio.TimerHandle | None = None
        idle_since = 0.0
        is_leaving = False

        @property
        def is_idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            if len(self.connections) > most:
                idle = [other for other in self.connections if other is not self and getattr(other, "is_idle", False)]
                oldest = min(idle, key=lambda other: other.idle_since, default=self)
                oldest.transport.close()
            self._wait_for_a_request()

        def connection_lost(self, exc: Exception | None) -> None:
            self._wait_no_more()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.is_leaving and not self.is_idle:
                self._make_this_the_last()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if not self.transport.is_closing():
                self._wait_for_a_request()

        def shutdown(self) -> None:
            self.is_leaving = True
            if self.is_idle or self.cycle.response_started:
                self.loop.call_later(_LINGER, self._leave)
            else:
                self._make_this_the_last()

        def _make_this_the_last(self) -> None:
            """Tell the sender, who else would send the next request into a connection that is being closed."""
            if not self.cycle.response_started:
                self.cycle.keep_alive = False
                self.cycle.default_headers = [*self.cycle.default_headers, (b"connection", b"close")]

        def _leave(self) -> None:
            if not self.transport.is_closing():
                super().shutdown()

        def _wait_for_a_request(self) -> None:
            self._wait_no_more()
            self.idle_since = self.loop.time()
            self.deadline = self.loop.call_later(header_seconds, self._cut_off)

        def _wait_no_more(self) -> None:
            if self.deadline is not None:
                self.deadline.cancel()
                self.deadline = None

        def _cut_off(self) -> None:
            # Web sockets have left the set; where a request is being answered, others see to its time.
            if self not in self.connections or not self.is_idle or self.transport.is_closing():
                return
            if self._has_begun():
                self.transport.write(_TOO_SLOW % (len(_SAID), _SAID))
            self.transport.close()

        def _has_begun(self) -> bool:
            # Who has asked for nothing gets no answer: it would be read as that to the next request, which may be on
            # its way. httptools keeps the parts of a header to itself.
            connection = getattr(self, "conn", None)
            return connection is None or bool(connection.trailing_data[0])

    return PatientProtocol
