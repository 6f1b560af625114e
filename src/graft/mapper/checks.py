"""What every worker of a cluster is asked before it works: is it the same graft, and does it see the same folder?"""

from __future__ import annotations

import hashlib
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graft.errors import GraftError

_PACKAGE = Path(__file__).parents[1]
SAME_GRAFT = "install the same graft for the same Python there, and start its worker again"


def code_here() -> str:
    """A hash of all of graft's code: versions say too little where people change it."""
    digest = hashlib.sha256()
    for file in sorted(_PACKAGE.rglob("*.py")):
        digest.update(file.relative_to(_PACKAGE).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def token_in(folder: Path) -> Iterator[tuple[Path, str]]:
    """A file in ``folder`` that only those who see that folder can read, and what is in it."""
    beside = folder / ".graft"
    beside.mkdir(parents=True, exist_ok=True)
    said = secrets.token_hex(16)
    path = beside / f"mapper-{said[:8]}.token"
    path.write_text(said, encoding="utf-8")
    try:
        yield path.absolute(), said
    finally:
        path.unlink(missing_ok=True)


def checked(folder: Path, ask: Callable[[Path], Mapping[str, Any]]) -> int:
    """Ask all workers, and say how many threads each may use where the settings leave it open.

    Args:
        folder: the parent's.
        ask: given a file, what :func:`graft.mapper.worker.facts` says of it on each worker, by the worker's name; an
            exception where it could not be asked.

    Returns:
        The least number of cores for each worker on any host: all take the same, so that all give the same bits.

    Raises:
        GraftError: there is no worker, or one runs other code or does not see the folder.
    """
    with token_in(folder) as (path, said):
        answers = ask(path)
    if not answers:
        raise GraftError(
            "the cluster has no worker", where="compute.address", remedy="start some; docs/clusters.md says how"
        )
    python, code = ".".join(map(str, sys.version_info[:2])), code_here()
    for name, found in answers.items():
        if isinstance(found, BaseException):
            what = f"a worker cannot run graft ({type(found).__name__}: {found})"
            raise GraftError(what, where=name, remedy=SAME_GRAFT)
        if found["python"] != python:
            what = f"a worker runs Python {found['python']}, and this is Python {python}"
            raise GraftError(what, where=name, remedy=SAME_GRAFT)
        if found["code"] != code:
            raise GraftError("a worker runs another version of graft's code", where=name, remedy=SAME_GRAFT)
        if found["token"] != said:
            raise GraftError(
                f"a worker does not see the folder {folder}",
                where=name,
                remedy="share that folder, at the same path, with every machine of the cluster",
            )
    beside = Counter(found["host"] for found in answers.values())
    return max(1, min(int(found["cores"]) // beside[found["host"]] for found in answers.values()))
