"""``POST /feedback``: the right label of an answer, from somebody who knows better than the model."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import anyio.to_thread
from _bentoml_sdk import IODescriptor
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse

from graft.errors import DataError, GraftError, did_you_mean
from graft.serve.metrics import metrics
from graft.serve.recorder import Recorder
from graft.serve.refusal import refusal
from graft.serve.upload import body_of

_REMEDY = """send JSON, as in: curl --json '{"id": "...", "label": "..."}'"""
_TRIES = 4  # another worker's answer may not have been written yet
_PAUSE_SECONDS = 0.15
_ID = re.compile("[0-9a-f]{32}")


class Correction(BaseModel):
    """What is sent, and what is answered: the answer's id, and the right label."""

    id: str
    label: str


class FeedbackUpload(IODescriptor):  # type: ignore[misc]  # BentoML's class has no types
    """The body of ``POST /feedback``."""

    id: str
    label: str

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> FeedbackUpload:
        """Called by BentoML instead of its own reading; ``id`` becomes the error to answer with where there is one."""
        try:
            found = read_correction(request.headers.get("content-type", ""), await body_of(request))
        except DataError as error:
            refused: FeedbackUpload = cls.model_construct(id=error, label="")
            return refused
        upload: FeedbackUpload = cls.model_construct(id=found.id, label=found.label)
        return upload


def read_correction(kind: str, body: bytes) -> Correction:
    """The JSON of a request.

    Only what says that it is JSON is read: a page of somebody else's can make a browser send forms and plain text
    anywhere, but this only where it is allowed to.

    Raises:
        DataError: it is something else, or not all of it is there.
    """
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise DataError("the request is not application/json", remedy=_REMEDY)
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise DataError("the request is no JSON that can be read", remedy=_REMEDY) from None
    for name in ("id", "label"):
        if not isinstance(values, dict) or not isinstance(values.get(name), str):
            raise DataError(f"the JSON has no text {name!r}", remedy=_REMEDY)
    return Correction(id=values["id"], label=values["label"])


async def correct(
    recorder: Recorder, classes: tuple[str, ...], given: str | DataError, label: str
) -> Correction | JSONResponse:
    """Write the right label down, or say why not: 400 for what cannot be right, 404 for an answer nobody knows."""
    if isinstance(given, DataError):
        return refusal(given)
    if label not in classes:
        return refusal(DataError("the label is no class of this model", remedy=did_you_mean(label[:100], classes)))
    if recorder.journal is None:
        off = DataError("answers are not written down here", remedy="set GRAFT_JOURNAL where the service is started")
        return refusal(off, status=404)
    try:
        tries = _TRIES if _ID.fullmatch(given) else 0
        while tries > 0:
            # Asked before it is looked for, for it may be written in between. Other workers' answers are not known.
            tries -= not recorder.is_waiting(given)
            if await anyio.to_thread.run_sync(recorder.journal.correct, given, label, time.time()):
                metrics().feedback.inc()
                return Correction(id=given, label=label)
            await asyncio.sleep(_PAUSE_SECONDS)
    except GraftError as error:
        return refusal(GraftError(error.what, remedy=error.remedy), status=503)
    return refusal(DataError("there is no answer of this id", remedy="send the `id` of an answer"), status=404)
