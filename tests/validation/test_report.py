"""The report: everything in validation.json, and a page that needs nothing from outside."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from graft.config import Validation
from graft.images.doctor import _manifest
from graft.images.sources import find_images
from graft.validation.report import JSON_FILE, PAGE_FILE, PICTURES_PER_FINDING, summarise, write_report
from graft.validation.suite import validate_manifest, with_quarantine


def report(folder: Path, out: Path, **limits: object) -> tuple[dict[str, object], str]:
    manifest = _manifest(find_images(str(folder), Path(), Path("/nonexistent")))
    findings = validate_manifest(manifest, Validation(**limits))  # type: ignore[arg-type]
    summary = summarise(with_quarantine(manifest, findings), "my <images>", {"drift": "nothing to compare with"})
    write_report(out, summary, findings, folder.joinpath)
    return json.loads((out / JSON_FILE).read_text()), (out / PAGE_FILE).read_text()


def test_every_expectation_is_in_the_json_with_its_files(make_classes: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_classes({"a": 6, "b": 6})
    (folder / "a/bad.jpg").write_text("text")
    values, _ = report(folder, tmp_path / "out", severity={"decodable": "quarantine"})
    assert {key: values[key] for key in ("success", "images", "undecodable", "classes", "quarantined")} == {
        "success": True,
        "images": 13,
        "undecodable": 1,
        "classes": {"a": 6, "b": 6},
        "quarantined": ["a/bad.jpg"],
    }
    assert values["broken"] == {"critical": 0, "quarantine": 1, "warning": 0}
    decodable = values["expectations"][0]  # type: ignore[index]
    assert (decodable["check"], decodable["success"], decodable["severity"]) == ("decodable", False, "quarantine")
    assert (decodable["count"], decodable["files"]) == (1, ["a/bad.jpg"])


def test_the_page_is_self_contained_escaped_and_shows_the_offenders(
    make_classes: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_classes({"a": 6, "b": 6})
    (folder / "a/<b>&.jpg").write_text("text")
    values, page = report(folder, tmp_path / "out", min_side=30)
    assert values["success"] is False
    assert "This data is refused" in page
    assert "my &lt;images&gt;" in page
    assert "a/&lt;b&gt;&amp;.jpg" in page
    assert "<b>" not in page
    assert page.count('src="data:image/jpeg;base64,') == 12
    addresses = re.findall(r"""(?:src|href)=["']([^"']*)""", page) + re.findall(r"url\(([^)]*)\)|@import", page)
    assert all(address.startswith("data:") for address in addresses)
    assert "prefers-color-scheme: dark" in page
    assert "<script" not in page


def test_a_long_list_is_cut_on_the_page_and_whole_in_the_json(
    make_classes: Callable[..., Path], tmp_path: Path
) -> None:
    values, page = report(make_classes({"a": 20, "b": 20}), tmp_path / "out", min_side=30)
    assert page.count("<figure>") == PICTURES_PER_FINDING
    assert f"and {40 - PICTURES_PER_FINDING} more files: see validation.json" in page
    resolution = next(item for item in values["expectations"] if item["check"] == "resolution")  # type: ignore[attr-defined]
    assert (resolution["count"], len(resolution["files"])) == (40, 40)


def test_a_clean_folder_has_a_page_without_findings(make_classes: Callable[..., Path], tmp_path: Path) -> None:
    values, page = report(make_classes({"a": 6, "b": 6}), tmp_path / "out")
    assert values["success"] is True
    assert "it meets every expectation" in page
    assert "Not met" not in page
