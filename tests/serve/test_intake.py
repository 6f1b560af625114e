"""What a request may cost, with applications that misbehave in ways the service does not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from graft.serve.doors import DOOR, Door
from graft.serve.intake import Intake, Limits
from graft.serve.linger import Linger

LIMITS = Limits(held=10_000, queue=2, body_seconds=120, answer_seconds=120)


@pytest.fixture(autouse=True)
def small_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_MAX_BODY", "0.001")


async def echo_length(scope: Any, receive: Any, send: Any) -> None:
    total, more = 0, True
    while more:
        message = await receive()
        total, more = total + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(total).encode()})


async def never(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("asked")


async def ask(
    intake: Intake | Linger, chunks: list[bytes], headers: list[tuple[bytes, bytes]] | None = None, then: str = "end"
) -> tuple[int | None, dict[str, Any] | int, dict[str, str]]:
    """Send ``chunks``, then the end, silence or a hang-up; returns status, body and headers of the answer."""
    sent: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if then == "end":
        waiting.append({"type": "http.request", "body": b"", "more_body": False})
    elif then == "hang up":
        waiting.append({"type": "http.disconnect"})

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.sleep(600)
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    door = Door("/predict", frozenset({"POST"}), body="GRAFT_MAX_BODY")
    await intake({"type": "http", "method": "POST", "headers": headers or [], DOOR: door}, receive, send)
    starts = [message for message in sent if message["type"] == "http.response.start"]
    if not starts:
        return None, {}, {}
    assert len(starts) == 1
    said = {name.decode().lower(): value.decode() for name, value in starts[0]["headers"]}
    return starts[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent)), said


def test_up_to_the_limit_passes() -> None:
    intake = Intake(echo_length, LIMITS)
    assert asyncio.run(ask(intake, [bytes(1000), bytes(48)]))[:2] == (200, 1048)
    assert (intake.held, intake.running) == (0, 0)


def test_one_byte_more_is_refused_and_nobody_is_asked() -> None:
    intake = Intake(never, LIMITS)
    status, said, _ = asyncio.run(ask(intake, [bytes(1000), bytes(49)]))
    assert status == 413
    assert said == {
        "error": "the upload is larger than 1.02344 KiB",
        "remedy": "send a smaller image, or scale it down",
    }
    assert intake.held == 0


def test_lying_length_is_counted_all_the_same() -> None:
    intake = Intake(never, LIMITS)
    assert asyncio.run(ask(intake, [bytes(2000)], [(b"content-length", b"5")]))[0] == 413


@pytest.mark.parametrize("length", [b"1049", b"9" * 5000])
def test_declared_length_is_refused_before_anything_is_read(length: bytes) -> None:
    assert asyncio.run(ask(Intake(never, LIMITS), [], [(b"content-length", length)], then="silence"))[0] == 413


def test_who_sends_too_slowly_is_told_so_and_cut_off() -> None:
    intake = Intake(never, Limits(10_000, 2, 0.05, 120))
    status, said, headers = asyncio.run(ask(intake, [b"a"], then="silence"))
    assert (status, headers["connection"]) == (408, "close")
    assert said == {
        "error": "the request did not arrive within 0.05 seconds",
        "remedy": "send it again on a faster connection, or send a smaller image",
    }
    assert intake.held == 0


def test_who_hangs_up_is_not_answered() -> None:
    intake = Intake(never, LIMITS)
    assert asyncio.run(ask(intake, [b"a"], then="hang up"))[0] is None
    assert intake.held == 0


def test_bodies_of_all_together_are_bounded() -> None:
    async def two() -> tuple[int | None, int | None]:
        intake = Intake(echo_length, Limits(1500, 9, 0.2, 120))
        slow = asyncio.ensure_future(ask(intake, [bytes(1000)], then="silence"))
        while not intake.held:
            await asyncio.sleep(0)
        second = await ask(intake, [bytes(1000)])
        first = await slow
        assert intake.held == 0
        return first[0], second[0]

    assert asyncio.run(two()) == (408, 429)


def test_more_than_the_queue_holds_are_told_to_come_again_and_slow_senders_hold_no_place() -> None:
    async def crowd() -> list[int | None]:
        free = asyncio.Event()

        async def waits(scope: Any, receive: Any, send: Any) -> None:
            await free.wait()
            await echo_length(scope, receive, send)

        intake = Intake(waits, LIMITS)
        slow = [asyncio.ensure_future(ask(intake, [b"a"], then="silence")) for _ in range(5)]
        taken = [asyncio.ensure_future(ask(intake, [b"a"])) for _ in range(2)]
        while intake.running < 2 or intake.held < 7:
            await asyncio.sleep(0)
        status, said, headers = await ask(intake, [b"a"])
        assert said == {"error": "2 requests are waiting already", "remedy": "send it again in a second"}
        assert headers["retry-after"] == "1"
        free.set()
        answered = [(await one)[0] for one in taken]
        again = (await ask(intake, [b"a"]))[0]
        for one in slow:
            one.cancel()
        return [status, *answered, again]

    assert asyncio.run(crowd()) == [429, 200, 200, 200]


def test_answer_that_takes_too_long_is_given_up_and_keeps_its_place_until_it_is_over() -> None:
    async def slow() -> None:
        free = asyncio.Event()

        async def stubborn(scope: Any, receive: Any, send: Any) -> None:
            try:
                await free.wait()
            except asyncio.CancelledError:
                await free.wait()  # as a thread does, which cannot be cancelled
                raise

        intake = Intake(stubborn, Limits(10_000, 2, 120, 0.05))
        status, said, headers = await ask(intake, [b"a"])
        assert (status, headers["retry-after"], intake.running) == (503, "1", 1)
        assert intake.held == 1, "it holds its body for as long as it goes on"
        assert said["error"] == "the answer took longer than 0.05 seconds"  # type: ignore[index]
        free.set()
        async with asyncio.timeout(60):
            while intake.running:
                await asyncio.sleep(0)
        assert intake.held == 0

    asyncio.run(slow())


def test_a_refused_body_is_not_held_while_its_sender_is_heard_out() -> None:
    async def big() -> None:
        intake = Intake(never, LIMITS)
        lingering = asyncio.ensure_future(ask(Linger(intake, 120), [bytes(1000), bytes(49)], then="silence"))
        async with asyncio.timeout(60):
            await asyncio.sleep(0.05)
            assert (intake.held, lingering.done()) == (0, False)
        lingering.cancel()

    asyncio.run(big())


@pytest.mark.parametrize("then", ["end", "hang up", "silence"])
def test_who_is_refused_may_send_to_the_end_but_not_for_ever(then: str) -> None:
    left = [bytes(2000)] * 50

    async def go() -> tuple[int | None, dict[str, Any] | int, dict[str, str]]:
        async with asyncio.timeout(60):
            return await ask(Linger(Intake(never, LIMITS), 0.05), left, then=then)

    status, said, _ = asyncio.run(go())
    assert (status, said["error"]) == (413, "the upload is larger than 1.02344 KiB")  # type: ignore[index]


def test_the_refusal_is_there_before_the_body_and_its_end_after_it() -> None:
    order: list[Any] = []

    async def refuses(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    async def receive() -> dict[str, Any]:
        order.append("read")
        return {"type": "http.request", "body": b"x", "more_body": order.count("read") < 3}

    async def send(message: dict[str, Any]) -> None:
        order.append((message.get("body", b""), message.get("more_body", False)))

    asyncio.run(Linger(refuses, 60)({"type": "http", "method": "POST"}, receive, send))
    assert order == [(b"", False), (b"no", True), "read", "read", "read", (b"", False)]


def test_who_was_too_slow_is_cut_off() -> None:
    status, _, headers = asyncio.run(
        ask(Linger(Intake(never, Limits(10_000, 2, 0.05, 120)), 120), [b"a"], then="silence")
    )
    assert (status, headers["connection"]) == (408, "close")


@pytest.mark.parametrize("has_begun", [False, True])
def test_errors_of_the_application_are_its_own(has_begun: bool) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        if has_begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("its own")

    intake = Intake(fails, LIMITS)
    with pytest.raises(RuntimeError, match="its own"):
        asyncio.run(ask(intake, [b"a"]))
    assert (intake.held, intake.running) == (0, 0)
