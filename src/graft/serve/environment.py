"""What can be set of the service: environment variables, in one table, each with what it means.

The service has no settings file: whoever runs it is often not who made the model, and containers are set this way.
To add one, add a row to ``VARIABLES`` and read it by :func:`number`, :func:`text` or :func:`is_on`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from graft.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Variable:
    """One row.

    Attributes:
        name: of the environment variable.
        default: what an unset or empty one means, as one would write it.
        meaning: what it sets, with its unit.
        least: the smallest value where it is a number; None where it is text.
    """

    name: str
    default: str
    meaning: str
    least: float | None = None


VARIABLES = (
    Variable("GRAFT_MODEL", "", "folder of the model to serve instead of the project's or the Bento's"),
    Variable("GRAFT_ENGINE", "", "`onnxruntime` or `torch`; unset: torch on a GPU, else ONNX Runtime, else torch"),
    Variable("GRAFT_WORKERS", "", "processes that serve; unset: one for every four cores"),
    Variable("GRAFT_THREADS", "", "requests that one worker works on at once; unset: its share of the cores"),
    Variable("GRAFT_BATCH", "", "most images of different requests that are run together; unset: 1, each by itself"),
    Variable("GRAFT_MODEL_WAIT", "10", "seconds that a missing model is waited for, alive but not ready", 0),
    Variable("GRAFT_API_KEY", "", "what senders must show, as `Authorization: Bearer KEY` or `X-API-Key: KEY`"),
    Variable("GRAFT_OPEN", "", "`1`: other machines may ask without a key, and that is meant"),
    Variable("GRAFT_HOSTS", "", "names that it answers to, commas between; unset: localhost, or any with a key"),
    Variable("GRAFT_MAX_BODY", "20", "MiB that a request for one image may have", 0.001),
    Variable("GRAFT_MAX_BATCH_BODY", "100", "MiB that a request for many images may have", 0.001),
    Variable("GRAFT_MAX_BATCH", "256", "images that one request may have", 1),
    Variable("GRAFT_MAX_WAITING_BODIES", "512", "MiB of bodies that one worker holds at once", 0.001),
    Variable("GRAFT_QUEUE", "64", "requests that one worker takes at once; more are told to come again", 1),
    Variable("GRAFT_TIMEOUT", "60", "seconds within which a request must be answered", 1),
    Variable("GRAFT_BODY_SECONDS", "20", "seconds within which a request's body must have come", 0.1),
    Variable("GRAFT_HEADER_SECONDS", "10", "seconds within which a request's header must have come", 0.1),
    Variable("GRAFT_CONNECTIONS", "900", "connections that one worker holds; the idlest goes for a new one", 1),
    Variable("GRAFT_LOG", "json", "`json`: a JSON object for each line of the log; `text`: lines for people"),
    Variable("GRAFT_JOURNAL", "", "SQLite file for what was answered, or `off`; unset: in a project .graft, else off"),
    Variable("GRAFT_JOURNAL_LIMIT", "100000", "answers that the journal keeps", 1),
    Variable("GRAFT_KEEP_IMAGES", "", "folder to keep the sent images in, as `<id>.kept.<kind>`; unset: none"),
    Variable("GRAFT_KEEP_IMAGES_LIMIT", "1024", "MiB of images that are kept; the oldest go", 0.001),
)
_BY_NAME = {variable.name: variable for variable in VARIABLES}
# What other parts of graft are told by variables; the service has no use for them, but may be started among them.
ELSEWHERE = frozenset(
    {
        "GRAFT_CACHE",
        "GRAFT_DATASETS",
        "GRAFT_DEBUG",
        "GRAFT_NOTIFY",
        "GRAFT_OFFLINE",
        "GRAFT_PARENT",
        "GRAFT_PROJECT",
        "GRAFT_PROJECT_ID",
        "GRAFT_REMOTE",
        "GRAFT_REPORTS_URL",
        "GRAFT_WORKER",
    }
)


def text(name: str) -> str:
    """What the variable is set to, else its default."""
    variable = _BY_NAME[name]
    return os.environ.get(name, "").strip() or variable.default


def is_on(name: str) -> bool:
    """Whether a switch is on.

    Raises:
        ConfigError: it is neither on nor off.
    """
    value = text(name).lower()
    if value not in {"", "0", "1", "no", "yes", "false", "true"}:
        raise ConfigError(f"{name}={value} is neither on nor off", remedy=f"set {name}=1, or unset it")
    return value in {"1", "yes", "true"}


def one_of(name: str, *known: str) -> str:
    """The variable's value, which must be one of some words.

    Raises:
        ConfigError: it is another.
    """
    value = text(name)
    if value not in known:
        raise ConfigError(f"{name}={value} is not known", remedy=did_you_mean(value, known))
    return value


def number(name: str) -> float:
    """The variable's value as a number.

    Raises:
        ConfigError: it is no number, or too small.
    """
    variable, value = _BY_NAME[name], text(name)
    least = variable.least or 0
    try:
        found = float(value)
    except ValueError:
        found = float("nan")
    if not least <= found < float("inf"):
        raise ConfigError(f"{name}={value} is no number from {least:g} on", remedy=f"it is: {variable.meaning}")
    return found


def mebibytes(name: str) -> int:
    """The variable's MiB as bytes. Raises ConfigError as :func:`number`."""
    return int(number(name) * 2**20)


def unknown() -> list[str]:
    """A warning for each variable that is named as graft's are and is none: after a slip, a default would hold."""
    names = sorted(name for name in os.environ if name.startswith("GRAFT_") and name not in {*_BY_NAME, *ELSEWHERE})
    return [f"{name} sets nothing here; {did_you_mean(name, _BY_NAME)}" for name in names]


def check() -> None:
    """Read them all, so that a wrong one ends the command before any worker starts.

    Raises:
        ConfigError: one of them cannot be used.
    """
    for variable in VARIABLES:
        if variable.least is not None:
            number(variable.name)
    is_on("GRAFT_OPEN")
    one_of("GRAFT_LOG", "json", "text")
