"""Settings of the service: environment variables, in one table.

The service has no settings file: whoever runs it is often not who trained the model, and containers are set this way.
Workers, time-outs and CORS that BentoML has settings for are BentoML's (``BENTOML_CONFIG_OPTIONS``).
To add one: a row in ``VARIABLES`` and a field of :class:`ServiceSettings`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from graft.core.errors import ConfigError, did_you_mean

MIB = 1 << 20


@dataclass(frozen=True)
class Variable:
    """An environment variable.

    Attributes:
        name: of the variable.
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
    Variable("GRAFT_WORKERS", "", "worker processes; unset: one for every four cores", 1),
    Variable("GRAFT_API_KEY", "", "key that clients must send as `Authorization: Bearer KEY` or `X-API-Key: KEY`"),
    Variable("GRAFT_OPEN", "", "`1`: other machines may ask without a key"),
    Variable("GRAFT_HOSTS", "", "accepted `Host` names, commas between; unset: localhost, or any with a key"),
    Variable("GRAFT_MAX_BODY", "20", "MiB of a request for one image; five times as much for many", 0.001),
    Variable(
        "GRAFT_PREDICTION_LOG", "", "SQLite file of the prediction log, or `off`; unset: .graft in a project, else off"
    ),
    Variable("GRAFT_KEEP_IMAGES", "", "folder to keep the sent images in, as `<id>.kept.<kind>`; unset: none"),
    Variable("GRAFT_KEEP_IMAGES_LIMIT", "1024", "MiB of images that are kept; the oldest are deleted", 0.001),
)
_BENTOML = "set it by BentoML: BENTOML_CONFIG_OPTIONS='services.graft_classifier.{}'"
_PROXY = "set it in the proxy: {} in deploy/nginx.conf"
REMOVED = {
    "GRAFT_ENGINE": "unset it: the fastest engine that can run the model is taken (CUDA_VISIBLE_DEVICES= hides a GPU)",
    "GRAFT_THREADS": "set GRAFT_WORKERS: each worker takes its share of the cores",
    "GRAFT_BATCH": "unset it: batches of several requests were no faster",
    "GRAFT_MODEL_WAIT": "have the service manager start it again, as deploy/compose.yaml does",
    "GRAFT_MAX_BATCH_BODY": "set GRAFT_MAX_BODY: a request for many images may have five times as much",
    "GRAFT_MAX_BATCH": "unset it: a request may have 256 images",
    "GRAFT_MAX_WAITING_BODIES": _BENTOML.format("traffic.max_concurrency=64"),
    "GRAFT_QUEUE": _BENTOML.format("traffic.max_concurrency=64"),
    "GRAFT_TIMEOUT": _BENTOML.format("traffic.timeout=60"),
    "GRAFT_BODY_SECONDS": _PROXY.format("client_body_timeout"),
    "GRAFT_HEADER_SECONDS": _PROXY.format("client_header_timeout"),
    "GRAFT_CONNECTIONS": _PROXY.format("worker_connections and limit_conn"),
    "GRAFT_LOG": "unset it: the log is JSON, a line for each request",
    "GRAFT_JOURNAL": "set GRAFT_PREDICTION_LOG",
    "GRAFT_JOURNAL_LIMIT": "unset it: the prediction log keeps 100,000 predictions",
}
_BY_NAME = {variable.name: variable for variable in VARIABLES}
# Variables of other parts of graft, among which the service may be started.
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
        "GRAFT_REPORTS_URL",
        "GRAFT_WORKER",
    }
)
# Workers run in another folder than the one where relative paths were typed.
PATHS = ("GRAFT_MODEL", "GRAFT_PREDICTION_LOG", "GRAFT_KEEP_IMAGES")
OFF = "off"


@dataclass(frozen=True)
class ServiceSettings:
    """The variables' values.

    Attributes:
        workers: processes; None: one for every four cores.
        api_key: empty where none is asked for.
        allow_remote: whether other machines may ask without a key.
        hosts: accepted names besides localhost and IP addresses; ``*`` for any.
        max_body: bytes of a request for one image.
        max_batch_body: bytes of a request for many images.
        prediction_log: value of GRAFT_PREDICTION_LOG.
        keep_images: folder, or None.
        keep_images_limit: bytes.
    """

    workers: int | None
    api_key: str = field(repr=False)
    allow_remote: bool
    hosts: tuple[str, ...]
    max_body: int
    prediction_log: str
    keep_images: Path | None
    keep_images_limit: int

    @property
    def max_batch_body(self) -> int:
        """Bytes of a request for many images."""
        return 5 * self.max_body

    @classmethod
    def from_environment(cls) -> ServiceSettings:
        """Read all variables.

        Raises:
            ConfigError: one cannot be used, or is no longer one of the service's.
        """
        for name, remedy in REMOVED.items():
            if name in os.environ:
                raise ConfigError(f"{name} is no setting of the service any more", remedy=remedy)
        workers, folder = text("GRAFT_WORKERS"), text("GRAFT_KEEP_IMAGES")
        api_key, allow_remote = text("GRAFT_API_KEY"), _switch("GRAFT_OPEN")
        hosts = tuple(name.strip() for name in text("GRAFT_HOSTS").split(",") if name.strip())
        return cls(
            workers=int(_number("GRAFT_WORKERS")) if workers else None,
            api_key=api_key,
            allow_remote=allow_remote,
            hosts=hosts or (("*",) if api_key or allow_remote else ()),
            max_body=int(_number("GRAFT_MAX_BODY") * MIB),
            prediction_log=text("GRAFT_PREDICTION_LOG"),
            keep_images=Path(folder) if folder else None,
            keep_images_limit=int(_number("GRAFT_KEEP_IMAGES_LIMIT") * MIB),
        )


def text(name: str) -> str:
    """The variable's value, else its default."""
    return os.environ.get(name, "").strip() or _BY_NAME[name].default


def make_paths_absolute() -> None:
    """Replace relative paths in the environment, which worker processes inherit."""
    for name in PATHS:
        given = text(name)
        if given and given.lower() != OFF:
            os.environ[name] = str(Path(given).absolute())


def unknown_variables() -> list[str]:
    """A warning for each GRAFT_ variable that nothing reads: after a slip, a default would hold in silence."""
    names = sorted(name for name in os.environ if name.startswith("GRAFT_") and name not in {*_BY_NAME, *ELSEWHERE})
    return [f"{name} sets nothing here; {did_you_mean(name, _BY_NAME)}" for name in names]


def _switch(name: str) -> bool:
    value = text(name).lower()
    if value not in {"", "0", "1", "no", "yes", "false", "true"}:
        raise ConfigError(f"{name}={value} is neither on nor off", remedy=f"set {name}=1, or unset it")
    return value in {"1", "yes", "true"}


def _number(name: str) -> float:
    variable, value = _BY_NAME[name], text(name)
    least = variable.least or 0
    try:
        found = float(value)
    except ValueError:
        found = float("nan")
    if not least <= found < float("inf"):
        raise ConfigError(f"{name}={value} is no number from {least:g} on", remedy=f"it is: {variable.meaning}")
    return found
