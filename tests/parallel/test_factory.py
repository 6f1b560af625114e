"""Which mapper the settings name, what is refused, and that nothing outlives the work."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from graft.core.config import parse_params
from graft.core.errors import ConfigError, GraftError
from graft.core.settings import Compute
from graft.parallel import dask_pool
from graft.parallel.factory import POOLS, mapper_for
from graft.parallel.mapper import SerialMapper
from tests.waiting import until

ZOO = {"candidates": ["resnet18"]}


def opened(**settings: Any) -> None:
    with mapper_for(Compute(**settings)):
        pass


def test_every_name_of_the_settings_has_an_engine() -> None:
    assert set(get_args(get_type_hints(Compute)["mapper"])) == {"serial", *POOLS}
    with mapper_for(Compute()) as mapper:
        assert isinstance(mapper, SerialMapper) and mapper.workers == 1


def test_an_unknown_mapper_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the key 'compute.mapper' cannot be 'spark'"):
        parse_params({"zoo": ZOO, "compute": {"mapper": "spark"}}, "test")
    with pytest.raises(ConfigError, match=r"the key 'compute.workers' cannot be 0"):
        parse_params({"zoo": ZOO, "compute": {"workers": 0}}, "test")


@pytest.mark.parametrize("name", ["serial", "processes"])
def test_an_address_for_what_has_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(mapper=name, address="tcp://127.0.0.1:8786")
    assert caught.value.message() == (
        f"compute.address is given, but the mapper {name!r} works on this machine alone\n"
        "  where: compute.address\n"
        "  remedy: set compute.mapper to dask or ray, or leave compute.address out"
    )


@pytest.mark.parametrize(("name", "module", "tool"), [("dask", "distributed", "Dask"), ("ray", "ray", "Ray")])
def test_an_engine_that_is_not_installed_is_named_with_what_installs_it(
    name: str, module: str, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError) as caught:
        opened(mapper=name)
    assert caught.value.what.startswith(f"the mapper {name!r} needs {tool}, which is not installed")
    assert caught.value.where == "compute.mapper" and caught.value.remedy == f"pip install 'graft[{name}]'"


@pytest.mark.parametrize(("name", "tool"), [("dask", "Dask"), ("ray", "Ray")])
def test_an_address_where_nobody_is_is_named(name: str, tool: str) -> None:
    # Taken, so that nobody else begins to listen there meanwhile, and without anybody who listens.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(GraftError) as caught:
            opened(mapper=name, address=address)
    assert caught.value.what.startswith(f"the {tool} cluster cannot be reached (")
    assert caught.value.where == f"compute.address: {address}"
    assert caught.value.remedy is not None and caught.value.remedy.startswith("start it, or mend the address")


@pytest.mark.parametrize("address", ["cluster", "tcp://cluster", "tcp://cluster:what", ":8786"])
def test_what_is_no_address_is_told_as_that(address: str) -> None:
    with pytest.raises(ConfigError, match="is no address of a Dask cluster") as caught:
        opened(mapper="dask", address=address)
    assert caught.value.remedy == "write host and port, such as tcp://10.0.0.5:8786"


@pytest.mark.slow
def test_somebody_else_at_that_address_is_told_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_pool, "CONNECT_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(GraftError, match="the Dask cluster cannot be reached") as caught:
            opened(mapper="dask", address=address)
    assert caught.value.where == f"compute.address: {address}"


MAPPING = """
import signal
import sys
from graft.parallel.factory import mapper_for
from graft.core.settings import Compute
from tests.parallel import work

if __name__ == "__main__":
    # Who is started by a shell in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    name, *files = sys.argv[1:]
    with mapper_for(Compute(mapper=name, workers=2, threads=1)) as mapper:
        list(mapper.map(work.sleep_long, files, "sleeping"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ending with a killed parent is Linux's")
@pytest.mark.parametrize(
    ("name", "sent", "code"),
    [
        ("processes", signal.SIGTERM, 143),
        ("processes", signal.SIGINT, -signal.SIGINT),
        ("processes", signal.SIGKILL, -signal.SIGKILL),
        pytest.param("dask", signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param("ray", signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_workers_end_with_the_work_however_that_ends(
    tmp_path: Path, name: str, sent: signal.Signals, code: int
) -> None:
    script, files = tmp_path / "mapping.py", [tmp_path / "one", tmp_path / "two"]
    script.write_text(MAPPING)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, str(script), name, *map(str, files)],
        env=environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while not all(file.exists() and file.read_text() for file in files):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(sent)
    said = process.communicate()[1]
    assert process.returncode == code, said
    # Now and then loky finds a folder gone that it was about to remove, and warns.
    ours = [line for line in said.splitlines() if b"resource_tracker" not in line]
    assert sent != signal.SIGTERM or not ours, "what a batch system sends needs no message"
    for worker in [int(file.read_text()) for file in files]:
        until(lambda number=worker: not running(number))  # a killed parent's are ended by the system, a moment later


def running(number: int) -> bool:
    """Whether a process is there and no zombie, which an init that reaps nothing would leave."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
