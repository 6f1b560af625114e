"""``python -m flows.pipeline`` as a person types it: a process of its own, with no server and with a real one."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.flows.processes import ended, kill_listener, prefect_server
from tests.flows.toy import Toy

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home for Prefect's database, which the first run takes a quarter of a minute to set up."""
    return tmp_path_factory.mktemp("prefect home")


@pytest.fixture
def environment(prefect_home: Path) -> dict[str, str]:
    """This process's environment without any Prefect settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "GRAFT_"))}
    return {**kept, "PREFECT_HOME": str(prefect_home), "PYTHONPATH": str(ROOT)}


def run_flow(toy: Toy, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.pipeline"]
    return subprocess.run(command, cwd=toy.root, env=environment, capture_output=True, text=True, check=False)


def runs_of(address: str) -> int:
    request = urllib.request.Request(f"{address}/flow_runs/count", data=b"{}", method="POST")
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return int(answer.read())


def assert_done(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stderr) == (0, "")
    assert "[ingest] reading in.txt\n" in done.stdout
    assert "accuracy  0.912 (95% interval 0.900 to 0.925)" in done.stdout


def test_with_no_server_a_run_is_quiet_and_a_failure_is_one_message(toy: Toy, environment: dict[str, str]) -> None:
    done = run_flow(toy, environment)
    assert_done(done)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("no Prefect server is configured: this run uses a temporary one")
    assert all(line.startswith("[") for line in lines[1 : lines.index("")]), "only stages speak before the result"
    toy.say("bad")
    failed = run_flow(toy, environment)
    assert failed.returncode == 1
    assert failed.stderr == (
        "error: stage 'ingest' failed: the file holds a bad word\n  where: in.txt\n  remedy: take a better word\n"
    )
    assert "Traceback" not in failed.stdout


def test_with_a_real_server_and_after_it_has_gone(toy: Toy, environment: dict[str, str], tmp_path: Path) -> None:
    with prefect_server(environment, tmp_path / "server.log") as address:
        environment["PREFECT_API_URL"] = address
        before = runs_of(address)
        first = run_flow(toy, environment)
        assert_done(first)
        assert "temporary" not in first.stdout
        assert runs_of(address) == before + 1, "the run is on that server"
    toy.say("better")
    gone = run_flow(toy, environment)
    assert_done(gone)
    assert gone.stdout.startswith(f"no Prefect server answers at {address}: this run uses a temporary one ")


def test_sigterm_ends_the_stage_too(toy: Toy, environment: dict[str, str]) -> None:
    (toy.root / "ingest.sh").write_text("echo I am $$; sleep 800; cp in.txt data.txt\n")
    command = [sys.executable, "-m", "flows.pipeline"]
    with subprocess.Popen(command, cwd=toy.root, env=environment, stdout=subprocess.PIPE, text=True) as flow:
        assert flow.stdout is not None
        while not (line := flow.stdout.readline()).startswith("[ingest] I am "):
            assert flow.poll() is None
        stage = int(line.split()[3])
        flow.terminate()
        flow.communicate(timeout=300)
    assert flow.returncode not in {0, None}
    assert ended(stage), "the stage goes on behind the back of the next run"


def test_a_server_that_is_killed_in_mid_run_costs_no_result(
    toy: Toy, environment: dict[str, str], tmp_path: Path
) -> None:
    (toy.root / "ingest.sh").write_text("echo at work; while test -e wait; do sleep 0.2; done; cp in.txt data.txt\n")
    (toy.root / "wait").touch()
    environment["PREFECT_HOME"] = str(tmp_path / "home")
    environment["PREFECT_CLIENT_MAX_RETRIES"] = "1"  # by default it takes a minute to give a server up
    with prefect_server(environment, tmp_path / "server.log") as address:
        environment["PREFECT_API_URL"] = address
        command = [sys.executable, "-m", "flows.pipeline"]
        flow = subprocess.Popen(command, cwd=toy.root, env=environment, stdout=subprocess.PIPE, text=True)
        assert flow.stdout is not None
        while "at work" not in flow.stdout.readline():
            assert flow.poll() is None
        kill_listener(address)
        (toy.root / "wait").unlink()
        said, _ = flow.communicate(timeout=500)
    assert flow.returncode == 1, said
    assert "the Prefect server does not answer" in said, "it is not asked again for each artifact"
    environment.pop("PREFECT_API_URL")
    again = run_flow(toy, environment)
    assert (again.returncode, again.stdout.count(" unchanged\n")) == (0, 3), "every stage was finished without it"


def test_a_stage_that_takes_too_long_is_ended_with_all_its_processes(toy: Toy, environment: dict[str, str]) -> None:
    # The helper would outlive its shell, and holds the stage's output open.
    (toy.root / "ingest.sh").write_text("sleep 500 & echo helper $!; wait; cp in.txt data.txt\n")
    command = [sys.executable, "-m", "flows.pipeline", "--timeout", "ingest=20"]
    done = subprocess.run(command, cwd=toy.root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "error: stage 'ingest' failed: it took longer than 20 s, so it was ended with all its processes\n"
        "  remedy: give it more time in the flow's parameter `timeouts`, such as {ingest: 40}\n"
    )
    assert ended(int(done.stdout.partition("[ingest] helper ")[2].split()[0]))
