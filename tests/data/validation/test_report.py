"""The report: everything in validation.json, and a page that needs nothing from outside."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

from graft.core.settings import Validation
from graft.data.doctor.audit import load
from graft.data.doctor.doctor import DEFAULTS
from graft.data.validation.report import (
    JSON_FILE,
    PAGE_FILE,
    PREVIEWS,
    QUARANTINE_FILE,
    render_page,
    summarise,
    write_report,
)
from graft.data.validation.suite import validate_manifest, with_quarantine
from graft.modalities.image.modality import ImageModality
from tests.data.validation.faults import FAULTS, Case, params_with


def report(folder: Path, out: Path, **limits: object) -> tuple[dict[str, object], str]:
    manifest = load(str(folder), DEFAULTS).manifest
    findings = validate_manifest(manifest, params_with(Validation(**limits)))  # type: ignore[arg-type]
    kept = with_quarantine(manifest, findings)
    summary = summarise(kept, "my <images>", findings, {"drift": "nothing to compare with"})
    write_report(out, kept, summary, findings, lambda path: ImageModality().preview((folder / path).read_bytes()))
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


def test_the_page_is_self_contained_escaped_and_shows_the_failing_files(
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
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert {address[1:] for address in addresses if address.startswith("#")} <= set(re.findall(r'id="([^"]*)"', page))
    assert "prefers-color-scheme: dark" in page
    assert "<script" not in page


def test_a_long_list_is_cut_on_the_page_and_whole_in_the_json(
    make_classes: Callable[..., Path], tmp_path: Path
) -> None:
    values, page = report(make_classes({"a": 20, "b": 20}), tmp_path / "out", min_side=30)
    assert page.count("<figure>") == PREVIEWS
    assert f"and {40 - PREVIEWS} more files: see validation.json" in page
    resolution = next(item for item in values["expectations"] if item["check"] == "resolution")  # type: ignore[attr-defined]
    assert (resolution["count"], len(resolution["files"])) == (40, 40)


def test_a_clean_folder_has_a_page_without_findings(make_classes: Callable[..., Path], tmp_path: Path) -> None:
    values, page = report(make_classes({"a": 6, "b": 6}), tmp_path / "out")
    assert values["success"] is True
    assert "it meets every expectation" in page
    assert "Not met" not in page


def test_what_is_left_out_is_marked_and_listed_and_what_is_kept_is_not(
    make_classes: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_classes({"a": 6, "b": 6})
    shutil.copy(folder / "a/a_000.png", folder / "a/copy.png")
    values, page = report(folder, tmp_path / "out", severity={"duplicates": "quarantine"})
    assert values["quarantined"] == ["a/copy.png"]
    assert values["classes"] == {"a": 6, "b": 6}
    assert ", 1 in quarantine" in page
    assert "1 file is left out; quarantine.csv lists them." in page
    assert page.count('<span class="out">left out</span>') == 1
    table = (tmp_path / "out" / QUARANTINE_FILE).read_text(encoding="utf-8")
    assert table == "path,source,label,check,found\na/copy.png,a/copy.png,a,duplicates,like a/a_000.png\n"


def test_nothing_left_out_leaves_a_table_of_no_rows(make_classes: Callable[..., Path], tmp_path: Path) -> None:
    values, page = report(make_classes({"a": 6, "b": 6}), tmp_path / "out")
    assert (tmp_path / "out" / QUARANTINE_FILE).read_text(encoding="utf-8") == "path,source,label,check,found\n"
    assert values["not_checked"] == {"drift": "nothing to compare with"}
    assert "<h2>Not checked</h2>" in page


class Reader(HTMLParser):
    """The names of all tags and attributes, as a browser reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_hostile_names_are_shown_as_text(make_classes: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_classes({"a": 6, "b": 6})
    names = [
        "<script>alert(1)<\u2215script>.png",
        '" onerror="alert(1).png',
        "new\nline \U0001f41c.png",
        "rtl_\u202egpj.png",
    ]
    for name in names:
        Image.new("RGB", (20, 20), "grey").save(folder / "a" / name)
    values, page = report(folder, tmp_path / "out")
    (sharpness,) = [item for item in values["expectations"] if item["check"] == "sharpness"]  # type: ignore[attr-defined]
    assert sharpness["count"] == 4
    assert "<script" not in page
    assert read(page).attributes == {
        *("lang", "charset", "name", "content", "class", "id", "href", "title", "src", "alt", "loading", "style")
    }
    assert "script" not in read(page).tags
    assert "a/new\\nline \U0001f41c.png" in page
    assert "<bdi>a/rtl_\u202egpj.png</bdi>" in page


def test_drift_and_classes_of_the_model_have_their_place_on_the_page(tmp_path: Path) -> None:
    case = FAULTS["drift"](FAULTS["model_classes"](Case()))
    findings = validate_manifest(case.manifest, params_with(case.limits), case.reference)
    summary = summarise(with_quarantine(case.manifest, findings), "x", findings, {})
    page = render_page(summary, findings, lambda path: "")
    assert '<span class="count soft">1 feature</span>' in page
    assert "differs by 1.00: median 0.494 before, 0.794 now" in page
    assert "class &#39;bird&#39; is only in the packaged model" in page
