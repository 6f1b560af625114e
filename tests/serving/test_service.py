"""The service in process: the contract's answer, one typed refusal for every bad request, never a 500."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from graft.core.workspace import Workspace
from graft.inference.predictor import Predictor
from graft.serving.page import FOLDER

CLASSES = ("ant", "bee", "wasp")
SCRIPTS = ("answer", "draw", "main", "model", "service", "words")
HOW = "send the image as the file of a multipart form, as in: curl -F image=@photo.jpg"
TOO_LARGE = {"error": "the upload is larger than 20 MiB", "remedy": "send a smaller image, or fewer at once"}


def test_predict_answers_as_the_contract_says(ask, served: Workspace, png: bytes) -> None:
    answer = ask("POST", "/predict", files={"image": ("a.png", png, "image/png")})
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"label", "probabilities", "unsure", "novelty", "model", "id"}
    assert re.fullmatch("[0-9a-f]{32}", body["id"])
    assert body["unsure"] is (max(body["probabilities"].values()) < 0.6) and body["novelty"] > 0
    assert set(body["probabilities"]) == set(CLASSES)
    assert sum(body["probabilities"].values()) == pytest.approx(1, abs=1e-9)
    assert (
        body["label"] == max(body["probabilities"], key=body["probabilities"].get) == next(iter(body["probabilities"]))
    )
    card = Predictor.load(served.packaged).artifact
    assert body["model"]["name"] == "graft"
    assert body["model"]["arch"] == "shufflenet_v2_x0_5"
    assert body["model"]["trained_from"] == "none"
    assert body["model"]["sha256"] == card.sha256[:12]
    assert len(body["model"]["version"]) == 12


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_service_and_predictor_give_the_same_probabilities(ask, served: Workspace, tmp_path: Path, seed: int) -> None:
    file = tmp_path / "image.png"
    pixels = np.random.default_rng(seed).integers(0, 256, (70, 31 + seed, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    answer = ask("POST", "/predict", files={"image": file.read_bytes()}).json()
    predictor = Predictor.load(served.packaged)
    said = predictor.predict_batch([predictor.preprocess(file)])
    wanted = dict(zip(predictor.classes, said.outputs[0].tolist(), strict=True))
    assert answer["probabilities"] == pytest.approx(wanted, abs=1e-6)
    assert said.novelty is not None and answer["novelty"] == pytest.approx(said.novelty[0], abs=1e-3)


def test_a_heic_photograph_is_answered(ask, png: bytes) -> None:
    register_heif_opener()
    heic = io.BytesIO()
    Image.open(io.BytesIO(png)).save(heic, "HEIF", quality=100)
    answer = ask("POST", "/predict", files={"image": ("IMG_1.HEIC", heic.getvalue(), "image/heic")})
    assert answer.status_code == 200 and answer.json()["label"]


def test_type_and_name_of_the_file_do_not_matter(ask, png: bytes) -> None:
    plain = ask("POST", "/predict", files={"image": ("a.png", png, "image/png")}).json()
    plain.pop("id")
    for name, kind in (("x" * 4000 + ".png", "image/png"), ("../../a\x00b", "text/plain"), ("a", "x/y")):
        answer = ask("POST", "/predict", files={"image": (name, png, kind)}).json()
        assert {key: value for key, value in answer.items() if key != "id"} == plain


TEXT = "body.image: Expected UploadFile, received: <class 'str'>"
MULTIPART = {"content-type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'


@pytest.mark.parametrize(
    ("request_", "error", "remedy"),
    [
        ({}, "body.image: Field required", HOW),
        ({"json": {"image": "file:///etc/passwd"}}, "body.image: Field required", HOW),
        ({"data": {"image": "x"}}, TEXT, HOW),
        ({"files": {"photo": b"x"}}, "body.image: Field required", HOW),
        ({"files": {"image": (None, "http://127.0.0.1:9/a.png")}}, TEXT, HOW),
        ({"files": [("image", b"x"), ("image", b"x")]}, "the form has 2 fields 'image'", "send one image per request"),
        ({"files": {"image": b""}}, "the file is empty", "send an image file that has content"),
        ({"content": b"junk", "headers": MULTIPART}, "Invalid multipart data.", HOW),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, "Missing boundary in multipart.", HOW),
        ({"files": [("n", b"x")] * 1001}, "Too many files. Maximum number of files is 1000.", HOW),
        (
            {"files": {"image": b"hello"}},
            "this is not an image but text; graft reads JPEG, PNG, WebP, HEIC, BMP, GIF and TIFF",
            "save it again as JPEG or PNG",
        ),
    ],
)
def test_bad_requests_get_400_and_say_what_to_do(ask, request_: dict, error: str, remedy: str) -> None:
    answer = ask("POST", "/predict", **request_)
    assert (answer.status_code, answer.json()) == (400, {"error": error, "remedy": remedy})


def test_damaged_images_and_bodies_get_400(ask, png: bytes) -> None:
    for body in (png[: len(png) // 2], png[:20], b"\x89PNG\r\n\x1a\n"):
        answer = ask("POST", "/predict", files={"image": ("a.png", body)})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"].startswith(("the image is damaged", "this is not an image"))


# Starlette leaves the files of a form that it did not read to its end to the garbage collector.
CLOSED_PIPE_FORM = pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")


@CLOSED_PIPE_FORM
def test_form_that_ends_in_the_middle_gets_400(ask, png: bytes) -> None:
    answer = ask("POST", "/predict", content=PART + png, headers=MULTIPART)
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "body.image: Field required", "remedy": HOW},
    )


def test_nothing_is_ever_unpickled(ask) -> None:
    headers = {"content-type": "application/vnd.bentoml+pickle"}
    assert ask("POST", "/predict", content=b"\x80\x04.", headers=headers).status_code == 400


async def _endless() -> AsyncIterator[bytes]:
    yield PART
    for _ in range(30):
        yield bytes(1 << 20)


@CLOSED_PIPE_FORM
def test_large_bodies_get_413_whether_declared_or_streamed(ask) -> None:
    declared = ask("POST", "/predict", files={"image": bytes(21 << 20)})
    assert (declared.status_code, declared.json()) == (413, TOO_LARGE)
    streamed = ask("POST", "/predict", content=_endless(), headers=MULTIPART)
    assert (streamed.status_code, streamed.json()) == (413, TOO_LARGE)


def test_body_just_under_the_limit_is_read(ask, png: bytes) -> None:
    # Bytes after the end of a PNG are ignored, so this is a valid image of nearly 20 MiB.
    answer = ask("POST", "/predict", files={"image": png + bytes((20 << 20) - 20_000)})
    assert answer.status_code == 200


def test_wrong_method_and_path(ask) -> None:
    assert ask("GET", "/predict").status_code == 405
    assert ask("GET", "/nothing").status_code == 404


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/schema.json", "/docs.json"])
def test_bentoml_adds_its_own(ask, path: str) -> None:
    assert ask("GET", path).status_code == 200


def test_model_card(ask) -> None:
    card = ask("GET", "/model").json()
    assert card["classes"] == list(CLASSES)
    assert card["size"] == 32
    assert card["metrics"]["accuracy"] == 0.93
    assert card["runtime"]["engine"] == "onnxruntime" and card["runtime"]["device"] == "cpu"
    assert min(card["runtime"]["threads"], card["runtime"]["workers"]) >= 1
    assert card["limits"] == {"body": 20 << 20}
    assert card["threshold"] == {"confidence": 0.6, "target": 0.95}
    assert card["novelty"] == {"usual": 0.95}
    assert card["trained_on"] == {"images": None}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        *((f"/{name}.js", "text/javascript; charset=utf-8") for name in SCRIPTS),
    ],
)
def test_page_is_whole_and_fetches_nothing_from_elsewhere(ask, path: str, kind: str) -> None:
    page = ask("GET", path)
    assert (page.status_code, page.headers["content-type"]) == (200, kind)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    text = page.text.replace("http://www.w3.org/2000/svg", "")
    assert "://" not in text and "@import" not in text and "url(" not in text


def test_page_needs_no_inline_script_or_style(ask) -> None:
    text = ask("GET", "/").text
    assert re.findall(r"<script[^>]*>[^<]|<style|\sstyle=|\son[a-z]+=", text) == []
    named = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', text)
    assert named == ["page.css", "main.js"]
    assert {path.stem for path in FOLDER.glob("*.js")} == set(SCRIPTS)


@pytest.mark.parametrize("path", ["/page.py", "/page.html", "/web/page.css", "/..%2fpage.py", "/%2e%2e/page.py"])
def test_nothing_but_the_pages_own_files_is_shown(ask, path: str) -> None:
    assert ask("GET", path).status_code == 404
