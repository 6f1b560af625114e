"""``torchvision:<Dataset>``: found where torchvision keeps data sets, or fetched by it, and listed like any source.

Everything lies in one folder for all projects of a user, ``~/.cache/torch/datasets/vision`` as torchvision calls it, or
what ``GRAFT_DATASETS`` names. A data set is a folder in it, fetched whole or not at all: torchvision itself takes a set
whose unpacking was killed half-way for a whole one.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from graft.errors import DataError, did_you_mean
from graft.files import whole_folder
from graft.images.records import Found, Record, honoured_split, printable
from graft.images.tables import read_table
from graft.images.torchvision_sets import SETS, TorchvisionSet
from graft.online import downloads_allowed, reachable
from graft.progress import track

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "torchvision:"
# Where arrays were written as PNG; the number goes up when they would be written otherwise.
_PICTURES = "png-1"
_TABLE = "table.csv"


def home() -> Path:
    """Where data sets are looked for and fetched to."""
    if given := os.environ.get("GRAFT_DATASETS"):
        return Path(given).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    torch_home = os.environ.get("TORCH_HOME", f"{cache}/torch")
    return Path(torch_home).expanduser().absolute() / "datasets" / "vision"


def read_set(source: str) -> Found:
    """List the images of ``torchvision:<Dataset>``, fetching it first where it is not on this machine.

    Raises:
        DataError: no such data set, or it is not here and cannot be had; the message names what was looked for, where,
            and where to put it.
    """
    row = _row(source)
    pictures = home() / _PICTURES / row.name
    if row.samples is None and (pictures / _TABLE).is_file():
        return _from_pictures(pictures)
    parts = _parts(row)
    if row.samples is not None:
        return _from_files(row, parts)
    _write_pictures(row, parts, pictures)
    return _from_pictures(pictures)


def _row(source: str) -> TorchvisionSet:
    name = source.removeprefix(PREFIX)
    if name not in SETS:
        raise DataError(
            f"there is no data set {name!r} among those that graft takes from torchvision",
            where="data.source",
            remedy=did_you_mean(_as_spelled(name), SETS),
        )
    return SETS[name]


def _as_spelled(name: str) -> str:
    """A name written in another case is the likeliest of all mistakes, and the least alike letter by letter."""
    return next((known for known in SETS if known.lower().startswith(name.lower())), name)


def _parts(row: TorchvisionSet) -> dict[str, Any]:
    """torchvision's object for every part of the set."""
    own = home() / row.name
    roots = [root for root in (own, home()) if (root / row.folder).exists()]
    why: DataError | None = None
    for root in roots:
        try:
            return _construct(row, root, download=False)
        except DataError as error:
            why = error
    _refuse_what_cannot_be_had(row, why)
    with _beside(own) as fetched:
        _construct(row, fetched, download=True)
    return _construct(row, own, download=False)


def _construct(row: TorchvisionSet, root: Path, download: bool) -> dict[str, Any]:
    from graft.vision import datasets

    kind = getattr(datasets, row.name)
    with _in_torchvisions_hands(row, root, "fetch" if download else "read"):
        return {part: row.construct(kind, root, download, arguments) for part, arguments in row.parts.items()}


@contextmanager
def _in_torchvisions_hands(row: TorchvisionSet, root: Path, doing: str) -> Iterator[None]:
    """A network, an archive or a parser there can raise anything: it becomes a message."""
    try:
        yield
    except DataError as error:
        raise DataError(error.what, where=root, remedy=error.remedy) from None
    except Exception as error:
        raise DataError(
            f"torchvision cannot {doing} the data set {row.name}: {error}",
            where=root,
            remedy=f"remove {home() / row.name} and run again, or put the files there by hand: {_files(row)}",
        ) from None


@contextmanager
def _beside(own: Path) -> Iterator[Path]:
    """A folder that takes ``own``'s place when it is whole; it begins with what is there, such as archives."""
    with whole_folder(own) as folder:
        if own.is_dir():
            shutil.copytree(own, folder, copy_function=_link, dirs_exist_ok=True)
        yield folder


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _refuse_what_cannot_be_had(row: TorchvisionSet, why: DataError | None) -> None:
    """Refuse within seconds, before torchvision is imported, what a download would find out by time-outs."""
    own = home() / row.name
    names = [Path(urlparse(url).path).name for url in row.urls]
    if names and all((own / row.archives / name).is_file() for name in names):
        return
    if not row.urls:
        reason = "torchvision cannot download it any more"
    elif not downloads_allowed():
        reason = "downloads are switched off (GRAFT_OFFLINE)"
    elif not reachable(row.urls[0]):
        reason = f"{urlparse(row.urls[0]).hostname} cannot be reached"
    else:
        return
    found = f"; what is there cannot be used: {why.what}" if why else ""
    raise DataError(
        f"the data set {row.name} is not on this machine, and {reason}{found}",
        where=f"looked for {own / row.folder} and {home() / row.folder}",
        remedy=f"on a machine with a network fetch {_files(row)}; or let GRAFT_DATASETS name the folder that holds it",
    )


def _files(row: TorchvisionSet) -> str:
    target = home() / row.name / row.archives
    if not row.urls:
        return f"the files as torchvision's page on {row.name} describes them, into {home() / row.name / row.folder}"
    return f"{' and '.join(row.urls)} into {Path(os.path.normpath(target))}"


def _from_files(row: TorchvisionSet, parts: dict[str, Any]) -> Found:
    """Image files as they are."""
    assert row.samples is not None
    records = []
    for part, data in parts.items():
        split = honoured_split(part, "test" in parts) if part else None
        for path, number in row.samples(data):
            file = Path(path)
            source = printable(os.path.relpath(file, home()))
            records.append(Record(file, source, row.named(data, number), split))
    return Found(tuple(sorted(records, key=lambda record: record.source)))


def _write_pictures(row: TorchvisionSet, parts: dict[str, Any], folder: Path) -> None:
    """Arrays as PNG files, with a table of their labels and parts."""
    rows: list[tuple[str, str, str]] = []
    with whole_folder(folder) as beside:
        for part, data in parts.items():
            (beside / (part or "all")).mkdir()
            for index in track(range(len(data)), f"writing {row.name} {part}"):
                with _in_torchvisions_hands(row, home() / row.name, "read"):
                    image, number = data[index]
                    label = row.named(data, int(number))
                name = f"{part or 'all'}/{index:06d}.png"
                image.save(beside / name, format="PNG")
                rows.append((name, label, part))
        _table(rows).to_csv(beside / _TABLE, index=False)


def _table(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=["path", "label", "split"])


def _from_pictures(folder: Path) -> Found:
    found = read_table(folder / _TABLE)
    # What is published does not change, so there is nothing of the user's to watch.
    return dataclasses.replace(found, watched=None, table=None, problems=(), rows=())
