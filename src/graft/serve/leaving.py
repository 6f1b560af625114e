"""How the service leaves its port: whoever was let in is answered, and nobody is let in who could not be.

The port is `bentoml serve`'s, and each worker has a share of it. Told to end, a worker stops taking connections at
once, while the system goes on letting them in until the port is closed, which is when the last worker has ended: these
connections were cut off. So the port is shut at the beginning of the end, for newcomers alone, and the workers have a
moment to take those who came before.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

import uvicorn

_MOMENT = 0.5  # seconds in which a worker takes those who wait at the port; as long as a request may be on its way
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
# A classic BPF program (code, jump if true, jump if not, operand) over a TCP header: of the packets to a listening
# socket those that begin a connection are dropped, so that their senders ask again a second later, and are refused
# then or find the next service. The last packet of a handshake is let through.
_FLAGS, _SYN, _SYN_OR_ACK = 13, 0x02, 0x12
_NO_NEWCOMERS = (
    (0x30, 0, 0, _FLAGS),  # load the byte of the flags
    (0x54, 0, 0, _SYN_OR_ACK),  # keep two of them
    (0x15, 0, 1, _SYN),  # is it the first packet of a connection?
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # take the packet whole
)


def shut_for_newcomers(listener: socket.socket) -> bool:
    """Let nobody else in at a listening TCP socket, in all processes that share it; who waits there can be accepted.

    Returns:
        whether the system can do that: Linux can.
    """
    if sys.platform != "linux" or listener.family not in {socket.AF_INET, socket.AF_INET6}:
        return False
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _NO_NEWCOMERS))
    given = struct.pack("HP", len(_NO_NEWCOMERS), ctypes.addressof(program))
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, given)
        return True
    return False


def shut_the_port_first() -> None:
    """In the process of `bentoml serve`: when it is told to end, shut its port before its workers are told."""
    from bentoml._internal.utils.circus import Arbiter

    stop = Arbiter.stop
    if hasattr(stop, "shuts_the_port"):
        return

    def shut_and_stop(self: Any) -> Any:
        for listener in self.sockets.values():
            shut_for_newcomers(listener)
        return stop(self)

    shut_and_stop.shuts_the_port = True  # type: ignore[attr-defined]
    Arbiter.stop = shut_and_stop


def take_who_waits() -> None:
    """In a worker, before its server is made: when it is told to end, take connections for another moment."""
    shutdown = uvicorn.Server.shutdown
    if hasattr(shutdown, "takes_who_waits"):
        return

    async def take_and_shut_down(self: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.sleep(_MOMENT)
        await shutdown(self, sockets)

    take_and_shut_down.takes_who_waits = True  # type: ignore[attr-defined]
    uvicorn.Server.shutdown = take_and_shut_down  # type: ignore[method-assign]
