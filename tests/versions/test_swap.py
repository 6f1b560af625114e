"""While another model comes into use, whoever looks finds the old one or the new one, whole, and never none."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from graft.files import whole_folder


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two folders in one step")
def test_a_folder_is_never_missing_while_it_is_replaced(tmp_path: Path) -> None:
    path, missing, stop = tmp_path / "promoted", [], threading.Event()

    def write(number: int) -> None:
        with whole_folder(path) as beside:
            (beside / "model.json").write_text(str(number))

    def look() -> None:
        while not stop.is_set():
            if not path.exists():
                missing.append(path)

    write(0)
    watcher = threading.Thread(target=look)
    watcher.start()
    for number in range(1, 200):
        write(number)
    stop.set()
    watcher.join()
    assert missing == []
    assert (path / "model.json").read_text() == "199"
    assert [item.name for item in tmp_path.iterdir()] == ["promoted"]
