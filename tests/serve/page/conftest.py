"""A real service on a tiny model with known answers, and a real browser that opens its page."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from graft.artifact import Artifact, save_artifact
from graft.gate import Check
from graft.packaged import write_package
from graft.trust.card import Novelty, Temperature, Threshold, Trust
from graft.trust.novelty import features_of
from graft.workspace import Workspace
from graft.zoo.network import build_network
from graft.zoo.preprocessing import Geometry, Preprocessing

ROOT = Path(__file__).resolve().parents[3]
COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
expect.set_options(timeout=20_000)  # milliseconds: a red test must mean a fault, not a busy machine
METRICS = {"accuracy": 0.93, "accuracy_ci95": [0.91, 0.95], "n_test": 153, "transfer": {"verdict": "helps"}}


def tell_colours(folder: Path) -> None:
    """A model that knows three colours: features of random weights, a head fitted on them.

    It is sure of a pure colour, not sure of one between two, and finds coloured noise unlike what it has seen.
    """
    import torch
    from sklearn.linear_model import LogisticRegression

    torch.manual_seed(0)
    random = np.random.default_rng(0)
    preprocessing = Preprocessing(Geometry(32, 1.0, "bilinear"), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    labels = np.arange(120) % len(COLOURS)
    plain = np.array(list(COLOURS.values()))[labels] + random.integers(-40, 41, (120, 3))
    seen = np.clip(plain[:, None, None] + random.normal(0, 8, (120, 32, 32, 3)), 0, 255).astype(np.uint8)
    network = build_network("resnet18", len(COLOURS), depth=1)
    features = features_of(network, preprocessing, seen)
    fitted = LogisticRegression(C=100, max_iter=1000).fit(features, labels)
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(fitted.coef_))
        network.head.bias.copy_(torch.from_numpy(fitted.intercept_))
    trust = Trust(Temperature(1.0, 0.9, 1.1, 40, None), Threshold(0.8, 0.95, 40, None), Novelty(0.2, 1, 0.95, 40, 120))
    artifact = Artifact(
        tuple(COLOURS), "resnet18", "none", 1, preprocessing, provenance={"train_images": 120}, trust=trust
    )
    save_artifact(folder, artifact, network, features)


@contextmanager
def bentoml_serve(workspace: Workspace, home: Path) -> Iterator[str]:
    """Run `bentoml serve` on the workspace's packaged model; yields its URL when it is ready."""
    shutil.copy(ROOT / "bentofile.yaml", workspace.root)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BENTOML", "GRAFT"))}
    url, log = f"http://127.0.0.1:{port}", workspace.root / "serve.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("bentoml"), "serve", "--port", str(port)],
            cwd=workspace.root,
            env={**kept, "BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT / "src")},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 90
        while not _is_ready(url):
            assert time.monotonic() < deadline and process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            # Its workers are in its group, unless they made one of their own.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Any]:
    """Package a fine-tuned model in a project of its own and serve it: ``with serve(folder) as (url, workspace)``."""

    @contextmanager
    def start(finetuned: Path) -> Iterator[tuple[str, Workspace]]:
        workspace = Workspace(tmp_path_factory.mktemp("project"))
        write_package(finetuned, workspace.packaged, "graft", METRICS, [Check("min_accuracy", 0.8, 0.93, True)])
        with bentoml_serve(workspace, tmp_path_factory.mktemp("bentoml")) as url:
            yield url, workspace

    return start


@pytest.fixture(scope="session")
def served_colours(serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Workspace]]:
    """The service that knows three colours, and its project."""
    finetuned = tmp_path_factory.mktemp("finetuned") / "model"
    tell_colours(finetuned)
    with serve(finetuned) as served:
        yield served


@pytest.fixture(scope="session")
def url(served_colours: tuple[str, Workspace]) -> str:
    """The address of the service that knows three colours."""
    return served_colours[0]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files by what they show: ``red``, ``blue``, ``between`` (of red and green), ``noise``, ``text`` (no image)."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    shown = {
        "red": Image.new("RGB", (300, 200), (210, 30, 30)),
        "blue": Image.new("RGB", (40, 40), (40, 40, 210)),
        "between": Image.new("RGB", (64, 64), (120, 120, 40)),
        "noise": Image.fromarray(noise),
    }
    for name, image in shown.items():
        image.save(folder / f"{name}.png")
    (folder / "text.png").write_text("no image")
    return {name: folder / f"{name}.png" for name in (*shown, "text")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. By module: while it is open, no other event loop runs in this thread."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs a Chromium in the PATH (Debian's package chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


class Watched:
    """A page with all it asks for and complains of."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.refusals_expected = False
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)

    def check(self) -> None:
        """Nothing was asked of anybody else, and nothing went wrong that the test did not provoke."""
        own = (f"{self.url}/", "blob:", "data:")
        assert [address for address in self.asked if not address.startswith(own)] == []
        refusal = "Failed to load resource"
        assert [said for said in self.complaints if not (self.refusals_expected and said.startswith(refusal))] == []


@pytest.fixture
def open_page(browser: Browser, url: str) -> Iterator[Callable[..., Watched]]:
    """Open the page, with options of Playwright's contexts; at the end see that it asked and complained of nothing."""
    opened: list[tuple[BrowserContext, Watched]] = []

    def open_(address: str = url, before: Callable[[Page], object] = lambda _: None, **options: Any) -> Watched:
        context = browser.new_context(**options)
        context.set_default_timeout(20_000)
        page = context.new_page()
        watched = Watched(page, address)
        opened.append((context, watched))
        before(page)
        page.goto(f"{address}/")
        return watched

    yield open_
    for context, watched in opened:
        context.close()
        watched.check()


@pytest.fixture
def watched(open_page) -> Watched:
    """The page, opened, with the model's card on it."""
    opened: Watched = open_page()
    opened.page.get_by_role("heading", name="The model").wait_for()
    return opened
