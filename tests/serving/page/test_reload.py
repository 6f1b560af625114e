"""A model that comes into use while the page is open: what is said beside an answer is said of the one that gave it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx
from playwright.sync_api import expect

from graft.inference.artifact import ARTIFACT_FILE
from graft.inference.package import write_package
from tests.serving.process import PATIENCE
from tests.waiting import until


def test_the_page_follows_a_promotion(serve, colours: Path, pictures, tmp_path: Path, open_page) -> None:
    other = tmp_path / "other"
    shutil.copytree(colours, other)
    card = json.loads((other / ARTIFACT_FILE).read_text())
    card["classes"] = ["rot", "grün", "blau"]
    card["trust"]["threshold"]["confidence"] = 0.9
    (other / ARTIFACT_FILE).write_text(json.dumps(card))
    with serve(colours) as (url, workspace):
        page = open_page(url).page
        expect(page.locator("#intro")).to_contain_text("red, green and blue")
        page.get_by_label("Choose images").set_input_files(pictures["red"])
        expect(page.locator("#list .label")).to_have_count(1)
        write_package(other, workspace.packaged, "graft", {"accuracy": 0.5}, [])
        until(lambda: httpx.get(f"{url}/model", timeout=PATIENCE).json()["classes"] == card["classes"])
        page.get_by_label("Choose images").set_input_files(pictures["between"])
        expect(page.locator("#list .label")).to_have_count(2)
        expect(page.locator("#list .doubts").first).to_contain_text("Not sure: it would have to give at least 90%.")
        expect(page.locator("#intro")).to_contain_text("rot, grün and blau")
        expect(page.locator("#facts")).to_contain_text("50.0%")
        question = page.get_by_role("group", name="for between.png?")
        question.get_by_role("button", name="No").click()
        offered = question.get_by_label("What it shows").get_by_role("option").all_text_contents()
        assert set(offered) <= {"It shows …", "rot", "grün", "blau"} and len(offered) == 3
