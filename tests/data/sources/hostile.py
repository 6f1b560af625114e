"""A folder with every fault that a file system allows, beside a clean one: what `graft doctor` must name and survive.

``plant`` makes the faults and returns what must be said of each: the path as it is printed, and words of the reason.
Pipes, links in circles and folders nobody may read are faults that hang or crash; odd names are none, and must survive.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.conftest import picture, write_classes

LONGEST = "é" * 125 + ".png"  # 254 bytes of the 255 that a name may have
ODD_NAMES = (
    "a name with spaces.png",
    "line\nbreak.png",
    "tab\there.png",
    "ants 🐜.png",
    LONGEST,
    "x" * 251 + ".png",
    "Same.png",
    "same.png",
    "SAME.PNG",
    "caf\u00e9.png",
    "cafe\u0301.png",
    "-rf.png",
    "'quoted' \"twice\" $HOME `x`.png",
    "[bracket] *?.png",
    "comma, semicolon;.png",
    "back\\slash.png",
)


def clean(folder: Path) -> Path:
    """Two classes of twelve images, with every name that is odd but right."""
    write_classes(folder, {"ants": 12, "bees": 12})
    for number, name in enumerate(ODD_NAMES):
        picture(5000 + number).save(folder / ("ants", "bees")[number % 2] / name)
    return folder


def plant(folder: Path, outside: Path) -> dict[str, str]:
    """Plant every fault into a folder of ants and bees; returns path -> words of why it is passed over."""
    outside.mkdir(parents=True, exist_ok=True)
    picture(9000).save(outside / "picture.png")
    write_classes(outside / "more", {"x": 2}, seed=70_000)
    ants, bees = folder / "ants", folder / "bees"
    (folder / "circle").symlink_to("circle")
    (ants / "round.png").symlink_to("about.png")
    (ants / "about.png").symlink_to("round.png")
    (ants / "up").symlink_to(folder)
    (ants / "here").symlink_to(".")
    (ants / "nowhere.png").symlink_to("gone.png")
    (bees / "out.png").symlink_to(outside / "picture.png")
    (bees / "out").symlink_to(outside / "more")
    (folder / "linked class").symlink_to(outside / "more" / "x")
    os.mkfifo(bees / "pipe.png")
    os.mkfifo(folder / "pipe")
    (ants / "null.png").symlink_to("/dev/null")
    for name in (".ipynb_checkpoints", "__MACOSX", ".git"):
        write_classes(folder, {name: 1}, seed=80_000)
    (ants / "Thumbs.db").write_bytes(b"\0")
    (ants / ".DS_Store").write_bytes(b"\0")
    (ants / "notes.txt").write_text("x")
    (folder / "loose.png").write_bytes((bees / "bees_000.png").read_bytes())
    (folder / "nothing in it").mkdir()
    with open(os.fsencode(ants) + b"/latin-\xe9.png", "wb") as file:  # noqa: PTH123 - the name is bytes
        file.write((ants / "ants_000.png").read_bytes())
    return {
        "circle": "leads nowhere",
        "ants/round.png": "leads nowhere",
        "ants/about.png": "leads nowhere",
        "ants/up": "a link to a folder",
        "ants/here": "a link to a folder",
        "ants/nowhere.png": "leads nowhere",
        "bees/out.png": "leads out of the data folder",
        "bees/out": "a link to a folder",
        "linked class": "a link to a folder",
        "bees/pipe.png": "neither a file nor a folder",
        "pipe": "not in a class folder",
        "ants/null.png": "leads out of the data folder",
        ".ipynb_checkpoints": "hidden",
        ".git": "hidden",
        "__MACOSX": "left by a file manager or archiver",
        "ants/Thumbs.db": "left by a file manager or archiver",
        "ants/.DS_Store": "hidden",
        "ants/notes.txt": "not an image by its name",
        "loose.png": "not in a class folder",
        "nothing in it": "a class folder without images",
        "ants/latin-\\udce9.png": "not valid UTF-8",
    }
