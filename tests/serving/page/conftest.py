"""A real service on a tiny model with known answers, and a real browser that opens its page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from graft.core.workspace import Workspace
from graft.inference.package import write_package
from tests.serving.page.models import tell_colours
from tests.serving.process import ROOT, serving

expect.set_options(timeout=100_000)  # milliseconds: a red test must mean a fault, not a busy machine
METRICS = {"accuracy": 0.93, "accuracy_ci95": [0.91, 0.95], "n_test": 153}


Served = tuple[str, Workspace]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[Served]]:
    """Package a fine-tuned model in a project of its own and serve it: ``with serve(folder) as (url, workspace)``.

    Keywords are environment variables of the service.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BENTOML", "GRAFT"))}

    @contextmanager
    def start(finetuned: Path, **variables: str) -> Iterator[Served]:
        workspace = Workspace(tmp_path_factory.mktemp("project"))
        write_package(
            finetuned,
            workspace.packaged,
            "graft",
            METRICS,
            [{"condition": "min_accuracy", "limit": 0.8, "figure": 0.93, "passed": True}],
        )
        shutil.copy(ROOT / "bentofile.yaml", workspace.root)
        home = str(tmp_path_factory.mktemp("bentoml"))
        environment = {**kept, "BENTOML_HOME": home, "PYTHONPATH": str(ROOT / "src"), **variables}
        with serving(workspace.root, environment) as url:
            yield url, workspace

    return start


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that knows three colours, fine-tuned; read only."""
    folder = tmp_path_factory.mktemp("colours") / "model"
    tell_colours(folder)
    return folder


@pytest.fixture(scope="session")
def served_colours(serve, colours: Path) -> Iterator[Served]:
    """The service that knows three colours, and its project."""
    with serve(colours) as served:
        yield served


@pytest.fixture(scope="session")
def url(served_colours: Served) -> str:
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
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=100_000)
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
        context.set_default_timeout(100_000)
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
