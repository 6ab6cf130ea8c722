from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pressrun import layout, writer_claim
from pressrun.errors import CollectionBusy
from pressrun.location import Location
from pressrun.storage import Store
from pressrun.writer_claim import WriterClaim
from tests.pressrun.claiming import Clock, await_condition
from tests.pressrun.small_collection import claim_of


def test_the_claim_is_kept_alive_until_it_is_released(
    tmp_path: Path, claims: Callable[..., WriterClaim], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_claim, "_BEAT_S", 0.005)
    clock = Clock()
    store = Store(Location(str(tmp_path)))
    claim = claims(store, "run", clock)
    claim.acquire()
    clock.now += 80
    await_condition(lambda: bool(json.loads(store.read(layout.WRITER))["beat"] == clock.now))
    clock.now += 80
    await_condition(lambda: bool(json.loads(store.read(layout.WRITER))["beat"] == clock.now))
    with pytest.raises(CollectionBusy):
        claims(store, "other", clock).acquire()
    claim.release()
    assert not store.exists(layout.WRITER)


def test_a_beat_that_fails_is_not_the_last(
    tmp_path: Path,
    claims: Callable[..., WriterClaim],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Unsteady(Store):
        failures = 3

        def write(self, name: str, data: bytes) -> None:
            if self.failures:
                self.failures -= 1
                raise OSError("the disk is away")
            super().write(name, data)

    monkeypatch.setattr(writer_claim, "_BEAT_S", 0.005)
    clock = Clock()
    store = Unsteady(Location(str(tmp_path)))
    claims(store, "run", clock).acquire()
    clock.now += 1
    await_condition(lambda: bool(json.loads(store.read(layout.WRITER))["beat"] == clock.now))
    assert caplog.text.count("could not renew its claim") == 3


def test_a_run_that_lost_its_claim_does_not_take_it_back(
    tmp_path: Path,
    claims: Callable[..., WriterClaim],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(writer_claim, "_BEAT_S", 0.005)
    store = Store(Location(str(tmp_path)))
    slept = claims(store, "slept")
    slept.acquire()
    with caplog.at_level(logging.ERROR):
        theirs = claim_of("awake")

        def was_taken() -> bool:
            store.write(layout.WRITER, theirs)  # again, since a beat may be between its look and its write
            return slept.is_lost

        await_condition(was_taken)
    assert "run slept gave no sign of life" in caplog.text
    assert "to run awake" in caplog.text
    slept.release()
    assert store.read(layout.WRITER) == theirs


@pytest.mark.parametrize("error", [RuntimeError("no loop"), OSError("away"), ValueError("half a record")])
def test_whatever_fails_in_a_beat_the_next_one_comes(
    tmp_path: Path, claims: Callable[..., WriterClaim], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(writer_claim, "_BEAT_S", 0.005)
    clock = Clock()
    store = Store(Location(str(tmp_path)))
    claims(store, "run", clock).acquire()
    failed = threading.Event()

    def fail(name: str, data: bytes) -> None:
        failed.set()
        raise error

    with monkeypatch.context() as outage:
        outage.setattr(store, "write", fail)
        assert failed.wait(10)
    clock.now += 1
    await_condition(lambda: bool(json.loads(store.read(layout.WRITER))["beat"] == clock.now))


@pytest.mark.parametrize("hangs", [False, True], ids=["fails", "hangs"])
def test_a_run_that_could_not_renew_its_claim_for_too_long_counts_it_as_lost(
    tmp_path: Path, claims: Callable[..., WriterClaim], monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setattr(writer_claim, "_BEAT_S", 0.005)
    monkeypatch.setattr(writer_claim, "_STALE_S", 0.2)
    is_back = threading.Event()

    class Away(Store):
        def write(self, name: str, data: bytes) -> None:
            if not is_back.wait(10 if hangs else 0):
                raise OSError("away")
            super().write(name, data)

    claim = claims(Away(Location(str(tmp_path))), "run")
    assert not claim.is_lost
    claim.acquire()
    assert not claim.is_lost
    await_condition(lambda: claim.is_lost)
    is_back.set()
    await_condition(lambda: not claim.is_lost)  # nobody had taken it over
