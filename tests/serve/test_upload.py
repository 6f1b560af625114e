"""Reading the form where the service in process cannot show it: a sender that goes away."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request

from graft.errors import DataError
from graft.serve.upload import read_image


@pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")
def test_sender_that_goes_away_is_not_a_fault_of_the_service() -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nhalf'
    waiting = [{"type": "http.request", "body": part, "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> dict:
        return waiting.pop(0)

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    request = Request({"type": "http", "app": None, "headers": headers}, receive)
    with pytest.raises(DataError, match="the sender went away before the end"):
        asyncio.run(read_image(request))
