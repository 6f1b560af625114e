"""Checks of a cluster before it works: installed, reachable, the same graft and the same folder on every worker."""

from __future__ import annotations

import hashlib
import platform
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from graft.core.code_version import code_of
from graft.core.determinism import available_cores
from graft.core.errors import ConfigError, GraftError

REACH_S = 5.0
SAME_GRAFT = "install the same graft for the same Python there, and start its worker again"


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker says of itself.

    Attributes:
        host: name of its machine.
        cores: that it may use.
        python: major and minor version.
        code: hash of graft's source; version numbers say too little where people change it.
        sees_folder: whether the project's folder is there, at the same path.
    """

    host: str
    cores: int
    python: str
    code: str
    sees_folder: bool


def worker_facts(folder: Path) -> WorkerFacts:
    """The facts of this process."""
    code = hashlib.sha256("\n".join(code_of(["**/*.py"])).encode()).hexdigest()
    python = ".".join(platform.python_version_tuple()[:2])
    return WorkerFacts(platform.node(), available_cores(), python, code, folder.is_dir())


def check_workers(found: Mapping[str, WorkerFacts | BaseException]) -> int:
    """Compare the facts of all workers with this process.

    Args:
        found: by the worker's name; an exception where it could not be asked.

    Returns:
        Threads for each worker where the settings leave it open: the least number of cores per worker of any host.

    Raises:
        GraftError: there is no worker, or one runs other code or does not see the folder.
    """
    if not found:
        raise GraftError(
            "the cluster has no worker", where="compute.address", remedy="start some; docs/clusters.md says how"
        )
    folder = Path.cwd()
    here = worker_facts(folder)
    shared = "share that folder, at the same path, with every machine of the cluster"
    known = []
    for name, there in found.items():
        if isinstance(there, BaseException):
            what = f"a worker cannot run graft ({type(there).__name__}: {there})"
            raise GraftError(what, where=name, remedy=SAME_GRAFT)
        if there.python != here.python:
            what = f"a worker runs Python {there.python}, and this is Python {here.python}"
            raise GraftError(what, where=name, remedy=SAME_GRAFT)
        if there.code != here.code:
            raise GraftError("a worker runs another version of graft's code", where=name, remedy=SAME_GRAFT)
        if not there.sees_folder:
            raise GraftError(f"a worker does not see the folder {folder}", where=name, remedy=shared)
        known.append(there)
    beside = Counter(there.host for there in known)
    return max(1, min(there.cores // beside[there.host] for there in known))


def require_reachable(engine: str, address: str, example: str) -> None:
    """Check that ``address`` (``host:port`` or a URL) accepts connections, before the engine's long timeout.

    Raises:
        ConfigError: it is no address.
        GraftError: the connection is refused or takes too long.
    """
    try:
        url = urlparse(address if "://" in address else f"//{address}")
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise ConfigError(
            f"{address!r} is no address of a {engine} cluster",
            where="compute.address",
            remedy=f"write host and port, such as {example}",
        )
    try:
        socket.create_connection((host, port), timeout=REACH_S).close()
    except OSError as error:
        raise unreachable(engine, address, error) from None


def unreachable(engine: str, address: str, error: Exception, hint: str = "") -> GraftError:
    """The error of a cluster that does not answer; ``hint`` is added to the remedy."""
    return GraftError(
        f"the {engine} cluster cannot be reached ({str(error) or type(error).__name__})",
        where=f"compute.address: {address}",
        remedy=f"start it, or mend the address; with compute.mapper: processes no cluster is needed{hint}",
    )


@contextmanager
def required(extra: str, engine: str) -> Iterator[None]:
    """Around the import of an engine.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"the mapper {extra!r} needs {engine}, which is not installed ({error})",
            where="compute.mapper",
            remedy=f"pip install 'graft[{extra}]'",
        ) from None
