"""Runs that claim a collection: their clocks, their waits and what they find."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pressrun import layout
from pressrun.storage import Store
from pressrun.writer_claim import WriterClaim


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def claims() -> Iterator[Callable[..., WriterClaim]]:
    """Make claims that do not really wait, and stop their heartbeats at the end."""
    made = []

    def make(
        store: Store,
        run_id: str,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], object] = lambda seconds: None,
    ) -> WriterClaim:
        made.append(WriterClaim(store, run_id, clock, pause))
        return made[-1]

    yield make
    for claim in made:
        claim.release()


def holder(store: Store) -> str:
    run_id: str = json.loads(store.read(layout.WRITER))["run_id"]
    return run_id


def await_condition(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        threading.Event().wait(0.005)
