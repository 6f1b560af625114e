"""Symbolic links to the user's data, which DVC depends on to notice changes.

DVC follows a dependency that is itself a link (but no link below it), and dvc.yaml can only name paths that are the
same for everybody. So the stage ``locate`` keeps, under data/.links:

    data.source         a link to the folder of images          (or a small folder with a note: nothing to watch)
    data.source.table   a link to the table that lists them     (or a small file with a note)
    data.source.json    the value it was made for; the stage's output, so that a fresh clone makes the links
    pretrain.source...  the same for the data that source models are trained on
    weights             links to the user's own weights files   (and a note, so that the folder is never empty)

The names are the keys of params.yaml, because DVC shows them where what a link leads to is missing. They are hidden,
because nobody would put images there. ``data/source`` is a name that people choose.

DVC only reads through the links: they are dependencies, never outputs, so it has no cause to delete or write there.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from graft.core.errors import WeightsError
from graft.core.files import write_json, write_text
from graft.data.sources.listing import SourceListing, is_utf8, printable
from graft.data.sources.scan import list_dir

# DVC walks with a function that calls itself for each folder, up to Python 3.11.
_DEEPEST = 500
NOTE = "note.txt"
_NOTHING = "Nothing outside the project is watched here.\n"


def link_source(found: SourceListing, source: str, link: Path) -> str | None:
    """Point ``link`` (data/.links/data.source) at the folder of ``source``, and the link beside it at its table.

    Returns why changes of the data will not be noticed, or None where they will be.
    """
    relative = not Path(source).expanduser().is_absolute()
    trouble = None if found.watched is None else unwatchable_reason(found.watched)
    if found.linked is not None:
        trouble = f"{found.linked} was read through a link out of {found.watched}"
    table = link.with_name(f"{link.name}.table")
    folder = None if trouble else found.watched
    for place, target, note in ((link, folder, link / NOTE), (table, found.table, table)):
        if target is None:
            _remove_link(place)
            write_text(note, _NOTHING)
        else:
            _set_link(place, target, relative)
    write_json(link.with_name(f"{link.name}.json"), {"source": source, "watched": trouble is None})
    return trouble


def link_weights(files: Iterable[Path], root: Path, links: Path) -> None:
    """Keep in the folder ``links`` a link to each of the user's own weights files (relative to ``root``), and no other.

    Raises:
        WeightsError: a file is not there; without a link, what is put there later would never be noticed.
    """
    aims = {}
    for file in files:
        if not (root / file).is_file():
            raise WeightsError.no_file(root / file)
        # Two files in two folders may have one name.
        aims[f"{hashlib.sha256(str(file).encode()).hexdigest()[:8]}-{file.name}"] = file
    write_text(links / NOTE, "Links to the weights files that params.yaml names: a change of them is noticed.\n")
    for other in links.iterdir():
        if other.is_symlink() and other.name not in aims:
            other.unlink()
    for name, file in aims.items():
        _set_link(links / name, root / file, not file.is_absolute())


def unwatchable_reason(folder: Path) -> str | None:
    """The first entry of ``folder`` that DVC could not hash, and why, or None."""
    if (folder / ".dvcignore").exists():
        return f"{folder} has a .dvcignore file of its own"
    waiting = [(str(folder), 0)]
    while waiting:
        current, depth = waiting.pop()
        if depth > _DEEPEST:
            return f"{current} lies more than {_DEEPEST} folders deep"
        entries, trouble = list_dir(Path(current))
        if trouble:
            return f"{printable(current)} {trouble}"
        for entry in entries:
            if not is_utf8(entry.name):
                return f"{printable(entry.path)} has a name that is not UTF-8"
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, depth + 1))
            elif why := _stops_dvc(entry):
                return f"{printable(entry.path)} {why}"
    return None


def _stops_dvc(entry: os.DirEntry[str]) -> str | None:
    """Why DVC could not hash this file, or None."""
    try:
        mode = entry.stat().st_mode
    except OSError:
        return "is a link that leads nowhere"
    if stat.S_ISDIR(mode):
        return None  # a link to a folder, which DVC does not enter
    return None if stat.S_ISREG(mode) and os.access(entry.path, os.R_OK) else "is not a file that can be read"


def _set_link(link: Path, target: Path, relative: bool) -> None:
    """Make ``link`` lead to ``target``."""
    # A relative source stays relative, so that project and data can be moved together.
    aim = os.path.relpath(target.resolve(), link.parent.resolve()) if relative else str(target.resolve())
    if link.is_symlink() and os.readlink(link) == aim:  # noqa: PTH115
        return
    _remove_link(link)
    link.parent.mkdir(parents=True, exist_ok=True)
    beside = link.with_name(f".{link.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(aim)
    beside.replace(link)


def _remove_link(link: Path) -> None:
    """Remove a link or a note, never a link's target. Raises OSError where a folder holds more than its note."""
    if link.is_symlink() or link.is_file():
        link.unlink()
    elif link.is_dir():
        (link / NOTE).unlink(missing_ok=True)
        link.rmdir()
