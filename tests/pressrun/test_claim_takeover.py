from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pressrun import layout
from pressrun.errors import CollectionBusy
from pressrun.location import Location
from pressrun.storage import Store
from pressrun.writer_claim import WriterClaim, drop_claim
from tests.pressrun.claiming import Clock, holder
from tests.pressrun.small_collection import DyingStore, Killed, claim_of, snapshot


def race(location: Location, claims: Callable[..., WriterClaim], racers: int, store_kind: Callable[..., Store]) -> str:
    """Have runs claim at once, check that one of them wins, and return it."""
    together = threading.Barrier(racers)

    def claim(number: int) -> str | None:
        run = claims(store_kind(location), f"run-{number}")
        together.wait()
        try:
            run.acquire()
        except CollectionBusy:
            return None
        return f"run-{number}"

    with ThreadPoolExecutor(racers) as threads:
        (won,) = [run_id for run_id in threads.map(claim, range(racers)) if run_id]
    assert holder(Store(location)) == won
    assert set(snapshot(Store(location))) == {layout.WRITER}
    return won


def test_one_of_many_runs_wins_a_free_collection(location: Location, claims: Callable[..., WriterClaim]) -> None:
    race(location, claims, 6, Store)


@pytest.mark.parametrize("fields", [{}, {"host": "elsewhere"}], ids=["here", "elsewhere"])
@pytest.mark.parametrize("racers", [2, 3, 5])
def test_one_of_many_runs_that_all_see_a_dead_claim_takes_it_over(
    location: Location, claims: Callable[..., WriterClaim], racers: int, fields: dict[str, str]
) -> None:
    all_have_looked = threading.Barrier(racers)

    class LooksTogether(Store):
        has_looked = False

        def read(self, name: str) -> bytes:
            data = super().read(name)
            if name == layout.WRITER and not self.has_looked:
                self.has_looked = True
                all_have_looked.wait(10)
            return data

    Store(location).write(layout.WRITER, claim_of("dead", **fields))
    race(location, claims, racers, LooksTogether)


class Interrupted(Store):
    """A store in which something happens right after the first look at the claim, or the first try to make it."""

    def __init__(self, location: Location, method: str, event: Callable[[], None]) -> None:
        super().__init__(location)
        self._method, self._event = method, event

    def read(self, name: str) -> bytes:
        data = super().read(name)
        self._happen("read", name)
        return data

    def create(self, name: str, data: bytes) -> bool:
        created = super().create(name, data)
        self._happen("create", name)
        return created

    def _happen(self, method: str, name: str) -> None:
        if (method, name) == (self._method, layout.WRITER):
            self._method = ""
            self._event()


def test_whoever_comes_late_to_a_dead_claim_finds_it_taken(
    location: Location, claims: Callable[..., WriterClaim]
) -> None:
    store = Store(location)
    store.write(layout.WRITER, claim_of("dead"))
    late = claims(Interrupted(location, "read", claims(store, "quick").acquire), "late")
    with pytest.raises(CollectionBusy, match="run quick"):
        late.acquire()
    assert holder(store) == "quick"
    assert set(snapshot(store)) == {layout.WRITER}


def test_a_claim_given_free_at_that_moment_is_had(location: Location, claims: Callable[..., WriterClaim]) -> None:
    store = Store(location)
    for number, method in enumerate(("read", "create")):
        store.write(layout.WRITER, claim_of("ending"))
        run_id = f"next-{number}"
        claim = claims(Interrupted(location, method, lambda: drop_claim(store, "ending")), run_id)
        claim.acquire()
        assert holder(store) == run_id
        claim.release()


def test_a_run_killed_while_taking_over_blocks_nobody(tmp_path: Path, claims: Callable[..., WriterClaim]) -> None:
    killed = 0
    for lives in range(6):
        clock = Clock()
        location = Location(str(tmp_path / str(lives)))
        Store(location).write(layout.WRITER, claim_of("dead"))
        dying = claims(DyingStore(location, lives), "dying", clock)
        try:
            dying.acquire()
        except Killed:
            killed += 1
        clock.now += 100
        store = Store(location)
        claims(store, "next", clock).acquire()
        assert holder(store) == "next"
        store.sweep()
        assert set(snapshot(store)) == {layout.WRITER}
        dying.release()
    assert killed == 4
