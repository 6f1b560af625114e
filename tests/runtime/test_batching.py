"""Adaptive batching: everybody gets his own answers, waiting requests share a run, and nobody waits for company."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.runtime.batching import BatchingEngine
from tests.waiting import until


class Sums:
    """An engine whose answer for an image is its sum; can be held, to let requests gather."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.entered, self.go = Event(), Event()
        self.go.set()
        self._lock = Lock()
        self.at_once = 0

    def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with self._lock:
            self.at_once += 1
            assert self.at_once == 1, "two runs at the same time"
        self.batches.append(len(images))
        self.entered.set()
        assert self.go.wait(120)
        with self._lock:
            self.at_once -= 1
        if (images == 255).any():
            raise ValueError("planted")
        sums = images.reshape(len(images), -1).sum(axis=1, keepdims=True).astype(np.float32)
        return sums, -sums


def of(*levels: int) -> np.ndarray:
    return np.stack([np.full((2, 2, 3), level, np.uint8) for level in levels])


def test_a_lone_request_is_run_at_once() -> None:
    engine = Sums()
    logits, features = BatchingEngine(engine, 8).run(of(1, 2))
    assert logits.ravel().tolist() == [12, 24] and features.ravel().tolist() == [-12, -24]
    assert engine.batches == [2]


def test_what_waits_is_run_together_and_everybody_gets_his_own() -> None:
    engine, seen = Sums(), []
    batching = BatchingEngine(engine, 4, seen.append)
    engine.go.clear()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batching.run, of(1))
        assert engine.entered.wait(120)
        others = [pool.submit(batching.run, of(level)) for level in range(2, 9)]
        until(lambda: len(batching._queue) == 7)
        engine.go.set()
        assert first.result()[0].item() == 12
        assert [one.result()[0].item() for one in others] == [12 * level for level in range(2, 9)]
    assert engine.batches == seen == [1, 4, 3]


@settings(deadline=None, max_examples=20)
@given(
    requests=st.lists(st.lists(st.integers(0, 250), min_size=1, max_size=5), min_size=1, max_size=12),
    most=st.integers(1, 6),
)
def test_answers_do_not_depend_on_the_company(requests: list[list[int]], most: int) -> None:
    engine = Sums()
    batching = BatchingEngine(engine, most)
    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(lambda levels: batching.run(of(*levels)), requests))
    assert [logits.ravel().tolist() for logits, _ in said] == [[12 * level for level in levels] for levels in requests]
    largest = max(len(levels) for levels in requests)
    assert max(engine.batches) <= max(most, largest) and sum(engine.batches) == sum(map(len, requests))


def test_a_failure_reaches_its_batch_and_nobody_else() -> None:
    batching = BatchingEngine(Sums(), 4)
    with pytest.raises(ValueError, match="planted"):
        batching.run(of(255))
    assert batching.run(of(1))[0].item() == 12
