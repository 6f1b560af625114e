"""Many images in one request, the best classes alone, feedback, and what clients are told of it all."""

from __future__ import annotations

import json
import time
import zlib
from typing import Any

import pytest
import schemathesis

from graft.monitoring.prediction_log import PredictionLog
from graft.serving.schemas import ModelResponse
from tests.modalities.image.faults import FAULTS, Fault
from tests.modalities.image.faults import png as hand_made
from tests.serving.test_archive import zipped

HOW = "send files of a multipart form, as in: curl -F image=@1.jpg -F image=@2.jpg, or curl -F archive=@a.zip"

ZIP = "send a zip of image files, or the images themselves"
TOP_K = "query.top_k: Input should be greater than or equal to 1"
TEXT = "Expected UploadFile, received: <class 'str'>"
NO_FILE = "the form has no file `image` and no file `archive`"
JSON = {"content-type": "application/json"}


def test_many_files_are_answered_one_by_one_in_their_order(ask, png: bytes) -> None:
    alone = ask("POST", "/predict", files={"image": png}).json()
    sent = {"../a.png": png, "b\n.txt": b"hello", "c": b"", "d": png}
    files = [("image", (name, data)) for name, data in sent.items()]
    answer = ask("POST", "/predict_batch", files=files)
    assert answer.status_code == 200
    body = answer.json()
    assert body["model"] == alone["model"]
    assert [one["file"] for one in body["answers"]] == ["../a.png", "b%0A.txt", "c", "d"]
    first, text, empty, last = body["answers"]
    assert set(first) == {"file", "label", "probabilities", "unsure", "novelty", "id"}
    assert first["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)
    assert first["id"] != last["id"]
    assert (
        text["error"].startswith("this is not an image but text") and text["remedy"] == "save it again as JPEG or PNG"
    )
    assert empty == {"file": "c", "error": "the file is empty", "remedy": "send an image file that has content"}


def test_more_images_than_the_network_takes_at_once(ask, png: bytes) -> None:
    names = [f"{number}.png" for number in range(35)]
    answers = ask("POST", "/predict_batch", files=[("image", (name, png)) for name in names]).json()["answers"]
    assert [one["file"] for one in answers] == names
    assert all("label" in one for one in answers)


def test_a_zip_is_answered_file_by_file(ask, png: bytes) -> None:
    archive = zipped({"../up.png": png, "sub/": b"", "sub/zip.png": zipped({"a": b"x"}), "notes.txt": b"hello"})
    answers = ask("POST", "/predict_batch", files={"archive": ("a.zip", archive)}).json()["answers"]
    assert [(one["file"], one.get("error", "")[:25]) for one in answers] == [
        ("../up.png", ""),
        ("sub/zip.png", "this is not an image graf"),
        ("notes.txt", "this is not an image but "),
    ]


@pytest.mark.parametrize(
    ("request_", "error", "remedy"),
    [
        ({"json": {"image": ["http://x/a"]}}, NO_FILE, HOW),
        ({"files": {"photo": b"x"}}, NO_FILE, HOW),
        (
            {"files": {"archive": b"hello"}},
            "the archive is no zip that can be read",
            ZIP,
        ),
        (
            {"files": {"archive": (None, "file:///etc/passwd")}},
            "body.archive: Expected UploadFile, received: <class 'str'>",
            HOW,
        ),
        ({"files": [("archive", b"x"), ("image", b"x")]}, "the form has a zip and more", HOW),
        ({"files": {"image": b"x"}, "params": {"top_k": "0"}}, TOP_K, HOW),
        ({"files": [("image", b"x")] * 257}, "the form has 257 images, and the most is 256", "send fewer at once"),
        ({"files": [("image", b"x")] * 10_000}, "Too many files. Maximum number of files is 1000.", HOW),
    ],
)
def test_bad_requests_for_many_get_400(ask, request_: dict[str, Any], error: str, remedy: str) -> None:
    answer = ask("POST", "/predict_batch", **request_)
    assert (answer.status_code, answer.json()) == (400, {"error": error, "remedy": remedy})


def test_text_among_the_files_is_refused_and_no_address_is_fetched(ask, png: bytes) -> None:
    files = [("image", (None, "file:///etc/passwd")), ("image", ("a.png", png))]
    answer = ask("POST", "/predict_batch", files=files)
    assert answer.status_code == 400
    assert answer.json()["error"] == f"body.image.0: {TEXT}"


def test_a_strip_is_refused_alone_and_the_others_are_answered(ask, png: bytes) -> None:
    strip = hand_made(60_000_000, 1, 8, 0, zlib.compress(bytes(60_000_001)))
    refused = {
        "error": "the image is a strip of 60000000 x 1 pixels, and a side may be at most 100 times the other",
        "remedy": "cut it into pieces",
    }
    alone = ask("POST", "/predict", files={"image": strip})
    assert (alone.status_code, alone.json()) == (400, refused)
    first, bad, last = ask("POST", "/predict_batch", files=[("image", png), ("image", strip), ("image", png)]).json()[
        "answers"
    ]
    assert {key: bad[key] for key in refused} == refused
    assert "label" in first and "label" in last


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_planted_content_is_answered_or_refused_by_its_reason(ask, fault: Fault) -> None:
    answer = ask("POST", "/predict", files={"image": (fault.name, fault.data())})
    if fault.problem is None:
        assert answer.status_code == 200, answer.text
        return
    assert answer.status_code == 400, answer.text
    said = answer.json()
    assert set(said) == {"error", "remedy"}
    assert said["error"].startswith("the file is empty" if not fault.data() else fault.problem)


def test_top_k(ask, png: bytes) -> None:
    whole = ask("POST", "/predict", files={"image": png}).json()["probabilities"]
    answer = ask("POST", "/predict", files={"image": png}, params={"top_k": "2"}).json()
    assert answer["probabilities"] == dict(list(whole.items())[:2])
    assert ask("POST", "/predict", files={"image": png}, params={"top_k": "99"}).json()["probabilities"] == whole
    for wrong in ("0", "-1", "1.5", "x", "9" * 5000, "²"):
        answer = ask("POST", "/predict", files={"image": png}, params={"top_k": wrong})
        assert (answer.status_code, answer.json()["error"].partition(":")[0]) == (400, "query.top_k")


@pytest.fixture
def log(ask) -> PredictionLog:
    import bentoml

    found = bentoml.get_current_service().prediction_log.log
    assert isinstance(found, PredictionLog)
    return found


def test_what_was_predicted_is_in_the_log_with_what_people_say_of_it(ask, png: bytes, log: PredictionLog) -> None:
    answer = ask("POST", "/predict", files={"image": png}).json()
    said = ask("POST", "/feedback", json={"id": answer["id"], "label": "wasp"})
    assert (said.status_code, said.json()) == (200, {"id": answer["id"], "label": "wasp"})
    rows = log.read()
    (row,) = rows[rows["id"] == answer["id"]].to_dict("records")
    assert (row["label"], row["truth"], row["model"]) == (answer["label"], "wasp", answer["model"]["version"])
    assert (row["width"], row["height"], row["unsure"]) == (50, 40, answer["unsure"])
    assert row["confidence"] == max(answer["probabilities"].values())
    assert 0.3 < row["brightness"] < 0.7 and 0 < row["contrast"] < 0.5
    assert abs(time.time() - row["at"]) < 600


@pytest.mark.parametrize(
    ("sent", "status", "error"),
    [
        ({"json": {"id": "0" * 32, "label": "ant"}}, 404, "there is no answer of this id"),
        ({"content": rb'{"id": "\ud800", "label": "ant"}', "headers": JSON}, 404, "there is no answer of this id"),
        ({"content": rb'{"id": "x", "label": "\ud800"}', "headers": JSON}, 400, "the label is no class of this model"),
        ({"json": {"id": "x", "label": "an"}}, 400, "the label is no class of this model"),
        ({"json": {"id": 1, "label": "ant"}}, 400, "body.id: Input should be a valid string"),
        ({"json": {"id": "1"}}, 400, "body.label: Field required"),
        ({"json": [1]}, 400, "body: Input should be a valid dictionary"),
        ({"content": b"[" * 4096, "headers": JSON}, 400, "There was an error parsing the body"),
        ({"content": b"[" * 4097, "headers": JSON}, 413, "the upload is larger than 4 KiB"),
        ({"content": b"{", "headers": JSON}, 400, "body.1: JSON decode error"),
        ({"content": b"\xff", "headers": JSON}, 400, "There was an error parsing the body"),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 400, "body: Input should be a valid dict"),
        ({"data": {"id": "a", "label": "ant"}}, 400, "body: Input should be a valid dictionary"),
        ({}, 400, "body: Field required"),
    ],
)
def test_feedback_that_cannot_be_used(ask, sent: dict[str, Any], status: int, error: str) -> None:
    answer = ask("POST", "/feedback", **sent)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"].startswith(error)


def test_openapi_document(ask) -> None:
    document = ask("GET", "/docs.json").json()
    schema = schemathesis.openapi.from_dict(document)
    schema.validate()
    operations = {operation.ok().label for operation in schema.get_all_operations()}
    assert operations == {"POST /predict", "POST /predict_batch", "POST /feedback", "GET /model"}
    ids = {name: operation["operationId"] for path in document["paths"].values() for name, operation in path.items()}
    assert "422" not in json.dumps(document) and ids["get"] == "model"
    card = ask("GET", "/model").json()
    assert ModelResponse.model_validate(card, strict=True).model_dump() == card
    answer = document["components"]["schemas"]["ClassificationPredictResponse"]["properties"]
    assert set(answer) == {"label", "probabilities", "unsure", "novelty", "id", "model"}
