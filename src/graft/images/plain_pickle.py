"""Reads the plain data of a pickle without unpickling it: nothing in the file can name code that would run.

CIFAR is published as Python 2 pickles of dictionaries, lists, numbers, texts and arrays of bytes. The standard
library's ``pickletools`` takes a pickle apart into its instructions; here the few that build such data are carried out
on plain values, and every other is refused. A global is never looked up: three names are known, for numpy's arrays.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError

_MARK = object()
_ARRAY, _BYTE = "an array", "its type"
_GLOBALS = {
    "numpy.core.multiarray _reconstruct": _ARRAY,
    "numpy._core.multiarray _reconstruct": _ARRAY,
    "numpy ndarray": "ndarray",
    "numpy dtype": _BYTE,
}


@dataclass
class _Array:
    """An array whose content comes in a later instruction."""

    values: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, dtype=np.uint8))


class _RefusedError(Exception):
    """An instruction that builds more than plain data."""


def read_plain(data: bytes) -> Any:
    """The value that a pickle holds: dictionaries, lists, tuples, numbers, texts (Latin-1) and arrays of bytes.

    Raises:
        DataError: it holds anything else, or is damaged.
    """
    try:
        return _Machine().run(data)
    except _RefusedError as error:
        raise DataError(
            f"the file holds more than plain data and is refused ({error})", remedy="get it again"
        ) from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"the file is damaged: {error}", remedy="get it again") from None


class _Machine:
    """A stack and a memo, as the format wants them."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for opcode, value, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return _plain(self.stack.pop())
            if opcode.name in _CONSTANTS:
                self.stack.append(value)
            elif opcode.name in _STEPS:
                _STEPS[opcode.name](self, value)
            else:
                raise _RefusedError(opcode.name)
        raise ValueError("it ends too early")

    def since_mark(self) -> list[Any]:
        place = max(index for index, item in enumerate(self.stack) if item is _MARK)
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def remember(self, key: Any) -> None:
        self.memo[len(self.memo) if key is None else int(key)] = self.stack[-1]

    def fill(self, items: list[Any]) -> None:
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def reduce(self) -> None:
        arguments, made = self.stack.pop(), self.stack.pop()
        if made == _ARRAY:
            self.stack.append(_Array())
        elif made == _BYTE and arguments[0] == "u1":
            self.stack.append(_BYTE)
        else:
            raise _RefusedError(f"a call with {arguments!r:.40}")

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Array):
            _, shape, kind, by_columns, content = state
            if kind != _BYTE or by_columns:
                raise _RefusedError("an array of other than bytes")
            target.values = np.frombuffer(content.encode("latin-1"), dtype=np.uint8).reshape(shape)
        elif target != _BYTE:
            raise _RefusedError("an object")

    def name(self, name: str) -> None:
        if name not in _GLOBALS:
            raise _RefusedError(name)
        self.stack.append(_GLOBALS[name])


def _plain(value: Any) -> Any:
    """Arrays in place of their stand-ins, in the dictionary that a file holds."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.values if isinstance(value, _Array) else value


_CONSTANTS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "NONE", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
}


def _extend(machine: _Machine) -> None:
    items = machine.since_mark()
    machine.stack[-1].extend(items)


def _put_pair(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.stack[-1][key] = value


def _append(machine: _Machine) -> None:
    value = machine.stack.pop()
    machine.stack[-1].append(value)


def _tuple(machine: _Machine, size: int) -> None:
    items = machine.stack[-size:]
    del machine.stack[-size:]
    machine.stack.append(tuple(items))


def _dict(machine: _Machine) -> None:
    items = machine.since_mark()
    machine.stack.append({})
    machine.fill(items)


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, value: None,
    "MARK": lambda machine, value: machine.stack.append(_MARK),
    "NEWTRUE": lambda machine, value: machine.stack.append(True),
    "NEWFALSE": lambda machine, value: machine.stack.append(False),
    "EMPTY_DICT": lambda machine, value: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, value: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, value: machine.stack.append(()),
    "DICT": lambda machine, value: _dict(machine),
    "LIST": lambda machine, value: machine.stack.append(machine.since_mark()),
    "TUPLE": lambda machine, value: machine.stack.append(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, value: _tuple(machine, 1),
    "TUPLE2": lambda machine, value: _tuple(machine, 2),
    "TUPLE3": lambda machine, value: _tuple(machine, 3),
    "APPEND": lambda machine, value: _append(machine),
    "APPENDS": lambda machine, value: _extend(machine),
    "SETITEM": lambda machine, value: _put_pair(machine),
    "SETITEMS": lambda machine, value: machine.fill(machine.since_mark()),
    "PUT": lambda machine, value: machine.remember(value),
    "BINPUT": lambda machine, value: machine.remember(value),
    "LONG_BINPUT": lambda machine, value: machine.remember(value),
    "GET": lambda machine, value: machine.stack.append(machine.memo[value]),
    "BINGET": lambda machine, value: machine.stack.append(machine.memo[value]),
    "LONG_BINGET": lambda machine, value: machine.stack.append(machine.memo[value]),
    "GLOBAL": lambda machine, value: machine.name(value),
    "REDUCE": lambda machine, value: machine.reduce(),
    "BUILD": lambda machine, value: machine.build(),
}
