"""The Python client and `graft predict --url` against the same real service that the page's tests use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from graft.client import Client, Prediction
from graft.core.errors import DataError, ServiceError
from graft.core.workspace import Workspace
from graft.monitoring.prediction_log import PredictionLog
from tests.serving.process import ROOT

_KEY = "a key"


def graft_predict(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "graft.cli.main", "predict", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_answers_are_typed_and_known(url: str, pictures: dict[str, Path]) -> None:
    client = Client(url)
    red, between, noise, text = client.predict_many(pictures[name] for name in ("red", "between", "noise", "text"))
    assert isinstance(red, Prediction) and isinstance(between, Prediction) and isinstance(noise, Prediction)
    assert (red.label, red.unsure, between.unsure) == ("red", False, True)
    assert sum(red.probabilities.values()) == pytest.approx(1)
    assert next(iter(red.probabilities)) == "red"
    assert red.novelty is not None and noise.novelty is not None and red.novelty < 1 < noise.novelty
    assert isinstance(text, DataError)
    assert text.what == "this is not an image but text; graft reads JPEG, PNG, WebP, HEIC, BMP, GIF and TIFF"
    card = client.model()
    assert (card.name, card.classes, card.size) == ("graft", ("red", "green", "blue"), 32)
    assert red.model["version"] == card.version
    assert card.metrics["accuracy_ci95"] == [0.91, 0.95]


def test_feedback_reaches_the_prediction_log(served_colours: tuple[str, Workspace], pictures: dict[str, Path]) -> None:
    url, workspace = served_colours
    client = Client(url)
    answer = client.predict(pictures["between"])
    assert answer.id is not None
    client.feedback(answer.id, "green")
    assert PredictionLog(workspace.prediction_log).read().set_index("id").loc[answer.id, "truth"] == "green"
    with pytest.raises(DataError, match="there is no answer of this id"):
        client.feedback("0" * 32, "green")
    with pytest.raises(DataError, match="the label is no class of this model"):
        client.feedback(answer.id, "yellow")


def test_command_prints_the_same_by_the_service_as_by_the_model(
    url: str, colours: Path, pictures: dict[str, Path]
) -> None:
    files = [pictures[name] for name in ("red", "between", "noise")]
    asked, own = graft_predict(*files, "--json", "--url", url), graft_predict(*files, "--json", "--model", colours)
    assert (asked.returncode, asked.stderr) == (0, "")
    for one, other in zip(asked.stdout.splitlines(), own.stdout.splitlines(), strict=True):
        said, expected = json.loads(one), json.loads(other)
        assert list(said) == list(expected)
        assert list(said["probabilities"]) == list(expected["probabilities"])
        for name in ("probabilities", "novelty"):
            assert said.pop(name) == pytest.approx(expected.pop(name), abs=1e-3)
        # What is served was packaged and has a name; its folder before that had none, and is the same version.
        said["model"], expected["model"] = (
            said["model"].removeprefix("graft:"),
            expected["model"].removeprefix("model:"),
        )
        assert said == expected
        assert len(said["model"]) == 12
    texts = [graft_predict(*files, *by).stdout for by in (("--url", url), ("--model", colours))]
    assert texts[0] == texts[1] and "not sure, unlike the training images" in texts[0]


def test_command_answers_the_others_where_one_is_refused(url: str, pictures: dict[str, Path]) -> None:
    done = graft_predict(pictures["text"], pictures["blue"], "/no/such/file", "--url", url)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{pictures['blue']}: blue")
    assert "this is not an image but text" in done.stderr and "there is no such file" in done.stderr


def test_command_without_a_service_and_with_both(pictures: dict[str, Path]) -> None:
    done = graft_predict(pictures["red"], "--url", "http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: the service cannot be reached: Connection refused\n  where: http://127.0.0.1:9\n"
        "  remedy: start it with `make serve`, or name the address where it is\n"
    )
    both = graft_predict(pictures["red"], "--url", "http://127.0.0.1:9", "--model", "models/packaged")
    assert both.returncode == 2 and "exclude each other" in both.stderr


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A JPEG of 12 megapixels that says it lies on its side."""
    coarse = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((4000, 3000))
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(tmp_path / "photograph.jpg", exif=turned, quality=92)
    return tmp_path / "photograph.jpg"


@pytest.mark.slow
def test_client_and_page_give_the_key_and_every_byte(
    serve, colours: Path, photograph: Path, tmp_path: Path, open_page
) -> None:
    kept = tmp_path / "kept"
    with serve(colours, GRAFT_API_KEY=_KEY, GRAFT_KEEP_IMAGES=str(kept)) as (url, _):
        with pytest.raises(ServiceError, match="the API key is missing or wrong"):
            Client(url, api_key="").predict(photograph)
        Client(url, api_key=_KEY).predict(photograph)
        watched = open_page(url)
        watched.refusals_expected = True
        page = watched.page
        field = page.get_by_label("API key")
        field.fill(_KEY)
        field.press("Enter")
        expect(page.locator("#intro")).to_contain_text("are classified, and are kept.")
        page.get_by_label("Choose images").set_input_files(photograph)
        page.locator("#list .label").wait_for()
        page.context.close()
    assert [path.read_bytes() == photograph.read_bytes() for path in kept.iterdir()] == [True, True]
