"""A real server and a real worker: schedules fire by themselves, and whoever is killed, finished stages stay so."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest
from filelock import FileLock

from flows.project import project_id
from graft.core.workspace import Workspace
from tests.flows.processes import ended, prefect_server
from tests.flows.toy import Toy, make_toy
from tests.waiting import until

ROOT = Path(__file__).parents[2]
PATIENCE = 400  # seconds; machines that run many tests are slow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

DEPLOYMENTS = """\
name: toy
pull:
  - prefect.deployments.steps.set_working_directory:
      directory: "{{ $GRAFT_PROJECT }}"
deployments:
  - name: train-{{ $GRAFT_PROJECT_ID }}
    entrypoint: flows/pipeline.py:pipeline
    parameters: {when_busy: leave}
    triggers:
      - {expect: [graft.data.changed], match: {prefect.resource.id: "graft.project.{{ $GRAFT_PROJECT_ID }}"},
         parameters: {cause: "{{ event.payload.cause }}"}}
    work_pool: {name: "{{ $GRAFT_PROJECT_ID }}"}
  - name: often-{{ $GRAFT_PROJECT_ID }}
    entrypoint: flows/pipeline.py:pipeline
    schedules: [{interval: 30, active: true}]
    work_pool: {name: "{{ $GRAFT_PROJECT_ID }}"}
  - name: watch-{{ $GRAFT_PROJECT_ID }}
    entrypoint: flows/watch.py:watch
    work_pool: {name: "{{ $GRAFT_PROJECT_ID }}"}
"""
# A second stage that takes until it is told to go on, so that one is finished when the run is killed.
SLOW_SELECT = """\
echo "I am $$"
if grep -q slow in.txt; then until test -e "go on"; do sleep 0.2; done; fi
mkdir -p reports/selection
cp data.txt reports/selection/leaderboard.csv
"""


@dataclass(frozen=True)
class Place:
    """A project, and a server that knows it."""

    toy: Toy
    address: str
    environment: dict[str, str]

    @property
    def project(self) -> str:
        """Its identity, which names carry."""
        return project_id(Workspace(self.toy.root))

    def start(self, module: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """A module of flows as a process group of its own, in the project."""
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=self.toy.root,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, module: str, *arguments: str) -> str:
        """The same to its end; returns what it said."""
        with self.start(module, *arguments) as process:
            said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
        return said

    def ask(self, path: str, **body: Any) -> Any:
        """What the server answers."""
        return asked("POST", f"{self.address}/{path}", json=body)

    def begin(self, deployment: str = "train", flow: str = "graft-pipeline") -> str:
        """Start a deployment; returns the run's id."""
        found = asked("GET", f"{self.address}/deployments/name/{flow}/{deployment}-{self.project}")
        # With a key of its own: asked twice by a client that had no answer, the server begins it once.
        body = {"state": {"type": "SCHEDULED"}, "idempotency_key": uuid4().hex}
        return str(self.ask(f"deployments/{found['id']}/create_flow_run", **body)["id"])

    def state_of(self, run: str) -> str:
        """The name of a run's state."""
        return str(asked("GET", f"{self.address}/flow_runs/{run}")["state_name"])

    def runs(self, **chosen: Any) -> list[dict[str, Any]]:
        """The flow runs that began, first first."""
        found = self.ask("flow_runs/filter", flow_runs=chosen, sort="START_TIME_ASC")
        return [run for run in found if run["start_time"]]

    def stages(self, run: str) -> dict[str, str]:
        """The state of each stage's task."""
        found = self.ask("task_runs/filter", flow_runs={"id": {"any_": [run]}})
        return {task["name"]: task["state_name"] for task in found}

    def assert_stages(self, run: str, wanted: dict[str, str]) -> None:
        """Hold the stages' states against those wanted once they are: the server hears of them by events, which lag."""
        with suppress(AssertionError):  # what they are, the next line says
            until(lambda: self.stages(run) == wanted)
        assert self.stages(run) == wanted

    def go_on(self) -> None:
        """Let the second stage end."""
        (self.toy.root / "go on").touch()


def asked(method: str, address: str, **options: Any) -> Any:
    """What a server answers; one that is short of processor time says 503, or nothing."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            answer = httpx.request(method, address, timeout=60, **options)
            if method == "DELETE" and answer.status_code == httpx.codes.NOT_FOUND:
                return None  # it was done when it was asked before, and the answer was lost
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                answer.raise_for_status()
                return answer.json() if answer.content else None
        time.sleep(2)
    raise AssertionError(f"{address} does not answer")


def wait(what: Callable[[], Any]) -> Any:
    """Wait until something is true, and return it; the server is asked every second."""
    return until(lambda: what() or time.sleep(1), PATIENCE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A server with an empty database; its address, and an environment that names it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "GRAFT_"))}
    path = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    home = tmp_path_factory.mktemp("prefect home")
    environment = {
        **kept,
        "PREFECT_HOME": str(home),
        "PYTHONPATH": path,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    with prefect_server(environment, home / "server.log") as address:
        yield address, {**environment, "PREFECT_API_URL": address}


@pytest.fixture
def place(server: tuple[str, dict[str, str]], tmp_path: Path) -> Place:
    """A toy project of its own, which the server does not know yet."""
    address, environment = server
    toy = make_toy(tmp_path / "toy project", "no scm")
    (toy.root / "flows").symlink_to(ROOT / "flows")
    (toy.root / "prefect.yaml").write_text(DEPLOYMENTS)
    (toy.root / "select.sh").write_text(SLOW_SELECT)
    for old in asked("POST", f"{address}/deployments/filter", json={}):
        asked("DELETE", f"{address}/deployments/{old['id']}")
    for pool in asked("POST", f"{address}/work_pools/filter", json={}):
        asked("DELETE", f"{address}/work_pools/{pool['name']}")
    return Place(toy, address, {**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), environment["PYTHONPATH"]])})


def end(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> None:
    """End a group with all its descendants."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        below = []
    for pid in (process.pid, *(child.pid for child in below)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
    process.wait(60)
    if process.stdout is not None:
        process.stdout.close()


@contextmanager
def worker(place: Place, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A worker; whatever it started ends with the test."""
    process = place.start("flows.worker", **environment)
    try:
        yield process
    finally:
        end(process)


def process_in_words(pid: int) -> str:
    with suppress(psutil.NoSuchProcess):
        return f"{pid}: {' '.join(psutil.Process(pid).cmdline())}"
    return f"{pid}: it has just ended"


@contextmanager
def opened_by_another(file: Path) -> Iterator[Callable[[], bool]]:
    """Yields what asks Linux whether anybody has opened the file since."""
    linux, in_open = ctypes.CDLL(None), 0x20
    told = linux.inotify_init()
    try:
        assert linux.inotify_add_watch(told, bytes(file), in_open) > 0
        yield lambda: bool(select.select([told], [], [], 0)[0])
    finally:
        os.close(told)


def is_done(run: dict[str, Any]) -> bool:
    return bool(run["state_name"] == "Completed")


def deploy(place: Place, *names: str) -> str:
    return place.run("flows.deployments", *names)


def test_a_schedule_fires_by_itself_and_work_is_done_once(place: Place) -> None:
    said = deploy(place, "often", "train")
    made = f"made the work pool '{place.project}'\ndeployed often-{place.project}, train-{place.project}: http://127.0.0.1:"
    assert made in said

    def whole() -> list[str]:
        """What became of the first stage in each run by a schedule, once its last stage is known to be over."""
        done = [run for run in place.runs() if run["auto_scheduled"] and is_done(run)]
        stages = [place.stages(run["id"]) for run in done]
        return [found["ingest"] for found in stages if found.get("evaluate") in {"Completed", "Unchanged"}]

    with worker(place):
        found = wait(lambda: len(whole()) >= 2 and whole())
    assert found.count("Completed") == 1, "the others found nothing to do"


def test_a_killed_workers_run_is_found_ends_as_crashed_and_is_resumed(place: Place) -> None:
    deploy(place, "train")
    place.toy.say("slow")
    with worker(place) as first:
        run = place.begin()
        wait(lambda: place.stages(run).get("select") == "Running")
        end(first)  # the worker, the run and its stage, as when a machine loses its power
    assert place.state_of(run) == "Running", "nobody could tell the server"
    place.go_on()
    said = place.run("flows.crashes")
    assert "found the run" in said and "is gone; finished stages are kept\nresumed it as '" in said
    assert place.state_of(run) == "Crashed"
    place.assert_stages(run, {"ingest": "Completed", "select": "Crashed"})
    assert place.run("flows.crashes") == "", "once is enough"
    (resumed,) = place.ask("flow_runs/filter", flow_runs={"tags": {"all_": ["resumes:1"]}})
    with worker(place):
        wait(lambda: place.state_of(resumed["id"]) == "Completed")
    place.assert_stages(resumed["id"], {"ingest": "Unchanged", "select": "Completed", "evaluate": "Completed"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_worker_that_ends_leaves_no_stage_behind_and_its_run_is_resumed(place: Place, number: int) -> None:
    deploy(place, "train")
    # As graft's own stages do, this one ends with the process that started it.
    stage = "import os, time; from graft.core.process_lifetime import end_with_parent; end_with_parent(); "
    stage += "open('pid', 'w').write(str(os.getpid())); time.sleep(1000)"
    (place.toy.root / "select.sh").write_text(f'exec "{sys.executable}" -c "{stage}"\n')
    # Debian's own shell, where bash would become the command by itself: a stage's command says `exec`, as graft's do.
    with worker(place, SHELL="/bin/sh") as first:
        run = place.begin()
        wait(lambda: (place.toy.root / "pid").exists() and (place.toy.root / "pid").read_text())
        below = [child.pid for child in psutil.Process(first.pid).children(recursive=True)]
        assert int((place.toy.root / "pid").read_text()) in below
        first.send_signal(number)
        said, _ = first.communicate(timeout=PATIENCE)
    left = [process_in_words(pid) for pid in below if not ended(pid)]
    assert left == [], f"the worker ended with {first.returncode} and said:\n{said}"
    # None of these tells the server: the next worker begins with this.
    assert "resumed it as '" in place.run("flows.crashes")
    assert place.state_of(run) == "Crashed"


def test_a_run_that_nobody_could_resume_yet_goes_on_though_its_worker_is_killed(place: Place) -> None:
    deploy(place, "train")
    run = place.begin()
    # Its record is what it is found and resumed by: the run waits with that until the worker is gone.
    lock = place.toy.root / ".graft" / "runs" / f"{run}.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock), opened_by_another(lock) as it_has_come, worker(place) as first:
        wait(it_has_come)
        first.kill()
        first.wait()
    wait(lambda: place.state_of(run) == "Completed")
    place.assert_stages(run, {"ingest": "Completed", "select": "Completed", "evaluate": "Completed"})


SILENCE_IN_SECONDS = """\
import os
from datetime import timedelta
from flows import deployments
told = deployments.silence()
deployments.silence = lambda: told.model_copy(update={"within": timedelta(seconds=75)})
deployments._watch_for_silence()
"""


def test_a_run_whose_machine_is_gone_for_good_is_ended_by_the_server(place: Place) -> None:
    """Nobody looks at the records of a machine that never comes back: the server itself has to notice."""
    deploy(place, "train")
    with subprocess.Popen([sys.executable, "-c", SILENCE_IN_SECONDS], env=place.environment) as sooner:
        assert sooner.wait(PATIENCE) == 0
    place.toy.say("slow")
    # Twice as many signs of life as in life: the run must not be taken for dead before it is.
    with worker(place, PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30") as first:
        run = place.begin()
        wait(lambda: place.stages(run).get("select") == "Running")
        end(first)
    wait(lambda: place.state_of(run) == "Crashed")
    deploy(place, "train")  # what comes now is given its usual minutes
    place.go_on()
    assert "no sign of life" in asked("GET", f"{place.address}/flow_runs/{run}")["state"]["message"]
    place.assert_stages(run, {"ingest": "Completed", "select": "Running"})
    with worker(place):  # the machine came back after all
        (resumed,) = wait(lambda: place.runs(idempotency_key={"any_": [f"resume-{run}"]}))
        wait(lambda: place.state_of(resumed["id"]) == "Completed")
    place.assert_stages(resumed["id"], {"ingest": "Unchanged", "select": "Completed", "evaluate": "Completed"})
    place.assert_stages(run, {"ingest": "Completed", "select": "Crashed"})


def test_changed_data_is_noticed_and_trained_on_by_an_event(place: Place) -> None:
    said = deploy(place, "train", "watch")
    assert f"deployed train-{place.project}, watch-{place.project}: " in said
    with worker(place):
        run = place.begin("watch", "graft-watch")
        wait(lambda: place.state_of(run) == "Changed")
        # An automation on the event started the deployment, and named the run by what the event says.
        named = "train: in.txt (modified), ingest.sh (modified)"
        wait(
            lambda: [
                one
                for one in place.runs()
                if one["name"] == named and place.stages(one["id"]).get("evaluate") == "Completed"
            ]
        )
