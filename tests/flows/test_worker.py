"""prefect.yaml on a real server with a real worker: schedules, crashes, limits, and data that changes."""

from __future__ import annotations

import os
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

from flows.project import project_id
from graft.core.workspace import Workspace
from tests.flows.processes import ended, prefect_server
from tests.flows.toy import Toy, make_toy
from tests.waiting import until

ROOT = Path(__file__).parents[2]
PATIENCE = 400  # seconds; machines that run many tests are slow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

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

    def start(self, program: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """A program of .venv as a process group of its own, in the project."""
        return subprocess.Popen(
            [str(Path(sys.executable).with_name(program)), *arguments],
            cwd=self.toy.root,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def deploy(self, **replaced: str) -> None:
        """`make deploy` of the project's own prefect.yaml, no schedule of it active, with texts replaced."""
        text = (ROOT / "prefect.yaml").read_text().replace("active: true", "active: false")
        # The toy's graph has none of these stages.
        for old, new in {"{finetune: 43200, select: 43200, tune: 86400}": "{}", **replaced}.items():
            assert old in text
            text = text.replace(old, new)
        (self.toy.root / "prefect.yaml").write_text(text)
        with self.start("python", "-m", "flows.deployments") as process:
            said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said

    def ask(self, path: str, **body: Any) -> Any:
        """What the server answers."""
        return asked("POST", f"{self.address}/{path}", json=body)

    def begin(self, deployment: str = "train", flow: str = "graft-pipeline") -> str:
        """Start a deployment; returns the run's id."""
        found = asked("GET", f"{self.address}/deployments/name/{flow}/{deployment}-{self.project}")
        # With a key of its own: asked twice by a client that had no answer, the server begins it once.
        body = {"state": {"type": "SCHEDULED"}, "idempotency_key": uuid4().hex}
        return str(self.ask(f"deployments/{found['id']}/create_flow_run", **body)["id"])

    def of(self, run: str) -> dict[str, Any]:
        """A flow run."""
        found: dict[str, Any] = asked("GET", f"{self.address}/flow_runs/{run}")
        return found

    def state_of(self, run: str) -> str:
        """The name of a run's state."""
        return str(self.of(run)["state_name"])

    def trainings(self) -> list[dict[str, Any]]:
        """All runs of the training deployment of this project, first first; also those that did not begin."""
        deployments = {"name": {"any_": [f"train-{self.project}"]}}
        return list(self.ask("flow_runs/filter", deployments=deployments, sort="EXPECTED_START_TIME_ASC"))

    def again(self, run: str) -> dict[str, Any]:
        """The training that was started because ``run`` crashed, once it is complete."""
        named = f"train: again, {self.of(run)['name']} crashed"
        (found,) = wait(lambda: [one for one in self.trainings() if one["name"] == named and is_done(one)])
        return dict(found)

    def failed_actions(self) -> list[str]:
        """What automations tried and could not do."""
        wanted = {"event": {"prefix": ["prefect.automation.action.failed"]}}
        found = self.ask("events/filter", filter=wanted)["events"]
        return [str(event["payload"].get("reason")) for event in found]

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
    """A worker as `make worker` begins it; whatever it started ends with the test."""
    process = place.start("prefect", "worker", "start", "--type", "process", "--pool", place.project, **environment)
    try:
        yield process
    finally:
        end(process)


def process_in_words(pid: int) -> str:
    with suppress(psutil.NoSuchProcess):
        return f"{pid}: {' '.join(psutil.Process(pid).cmdline())}"
    return f"{pid}: it has just ended"


def is_done(run: dict[str, Any]) -> bool:
    return bool(run["state_name"] == "Completed")


def flow_process(first: subprocess.Popen[str]) -> psutil.Process:
    """The process of the flow run that a worker has begun."""
    (found,) = [child for child in psutil.Process(first.pid).children() if "worker" not in child.cmdline()]
    return found


def test_a_schedule_fires_by_itself_and_work_is_done_once(place: Place) -> None:
    place.deploy(**{'cron: "0 2 * * *", timezone: UTC, slug: nightly, active: false': "interval: 30, active: true"})

    def whole() -> list[str]:
        """What became of the first stage in each run by a schedule, once its last stage is known to be over."""
        done = [run for run in place.runs() if run["auto_scheduled"] and is_done(run)]
        assert all(run["name"] == "train: nightly" for run in done)
        stages = [place.stages(run["id"]) for run in done]
        return [found["ingest"] for found in stages if found.get("evaluate") in {"Completed", "Unchanged"}]

    with worker(place):
        found = wait(lambda: len(whole()) >= 2 and whole())
    assert found.count("Completed") == 1, "the others found nothing to do"


def test_a_killed_run_is_crashed_and_goes_on_without_repeating_a_stage(place: Place) -> None:
    place.deploy()
    place.toy.say("slow")
    with worker(place) as first:
        run = place.begin()
        wait(lambda: place.stages(run).get("select") == "Running")
        second = place.begin()
        wait(lambda: place.state_of(second) == "AwaitingConcurrencySlot")
        flow_process(first).kill()
        wait(lambda: place.state_of(run) == "Crashed")
        place.go_on()
        again = place.again(run)
    place.assert_stages(again["id"], {"ingest": "Unchanged", "select": "Completed", "evaluate": "Completed"})
    assert place.failed_actions() == []


@pytest.mark.parametrize(
    ("number", "state"),
    # A run whose worker is gone ends by itself with the next line it logs; one that the worker kills tells nobody, so
    # that the server finds it by its heartbeats.
    [(signal.SIGKILL, "Crashed"), (signal.SIGTERM, "Running")],
    ids=["SIGKILL", "SIGTERM"],
)
def test_a_worker_that_ends_leaves_no_stage_behind(place: Place, number: int, state: str) -> None:
    place.deploy()
    # As graft's own stages do, this one ends with the process that started it.
    stage = "import os, time; from graft.core.compat.processes import end_with_parent; end_with_parent(); "
    stage += "open('pid', 'w').write(str(os.getpid()))\nwhile True: time.sleep(1); print('at work', flush=True)"
    (place.toy.root / "stage.py").write_text(stage)
    (place.toy.root / "select.sh").write_text(f'exec "{sys.executable}" stage.py\n')
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
    assert place.state_of(run) == state
    if state == "Crashed":
        # The server starts it again; an action still on its way fails when the next test deletes the deployment.
        wait(lambda: len(place.trainings()) == 2)


SOONER = """\
from datetime import timedelta
from flows import deployments
from prefect import get_client
found = deployments.heartbeat_automation()
found.trigger.within = timedelta(seconds=75)
with get_client(sync_client=True) as client:
    for known in client.read_automations_by_name(found.name):
        client.delete_automation(known.id)
    client.create_automation(found)
"""


def test_a_run_whose_machine_is_gone_is_crashed_by_the_server_and_goes_on(place: Place) -> None:
    place.deploy()
    with place.start("python", "-c", SOONER) as sooner:
        assert sooner.wait(PATIENCE) == 0
    place.toy.say("slow")
    # Twice as many heartbeats as in life: the run must not be taken for dead before it is.
    with worker(place, PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30") as first:
        run = place.begin()
        wait(lambda: place.stages(run).get("select") == "Running")
        end(first)
    assert place.state_of(run) == "Running", "nobody could tell the server"
    wait(lambda: place.state_of(run) == "Crashed")
    assert "no heartbeat" in place.of(run)["state"]["message"]
    place.go_on()
    with worker(place):  # the machine came back after all
        again = place.again(run)
    place.assert_stages(again["id"], {"ingest": "Unchanged", "select": "Completed", "evaluate": "Completed"})
    # Nothing of a run that is over is taken for silent: 75 s later the server has tried to end none.
    time.sleep(90)
    assert place.failed_actions() == []


def test_changed_data_is_noticed_and_trained_on_once(place: Place) -> None:
    place.deploy()
    with worker(place):
        first = place.begin("watch", "graft-watch")
        wait(lambda: place.state_of(first) == "Changed")
        (run,) = wait(lambda: place.trainings())
        wait(lambda: place.state_of(run["id"]) == "Completed")
        assert place.of(run["id"])["name"] == "train: in.txt (modified), ingest.sh (modified)"
        last = place.begin("watch", "graft-watch")
        wait(lambda: place.state_of(last) == "Unchanged")
    assert [one["id"] for one in place.trainings()] == [run["id"]]
    assert place.failed_actions() == []
