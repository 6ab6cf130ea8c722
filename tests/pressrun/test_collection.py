from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pressrun import collection, layout
from pressrun.collection import Identity, WriterClaim, check_location, drop_claim, join_collection, read_identity
from pressrun.errors import CollectionBusy, InvalidCollection
from pressrun.location import Location
from pressrun.storage import Store
from tests.pressrun.small_collection import DyingStore, Killed, claim_of, snapshot
from tests.s3_server import S3Server

IDENTITY = Identity("e" * 32, 8)
HOLDER = """
import sys
from pressrun.collection import WriterClaim
from pressrun.location import Location
from pressrun.storage import Store
WriterClaim(Store(Location(sys.argv[1])), "killed").acquire()
print("claimed", flush=True)
sys.stdin.read()
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["folder", "memory", "bucket"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "folder":
        return Location(str(tmp_path / "out"))
    if request.param == "memory":
        return Location(f"memory://{uuid.uuid4().hex}")
    server: S3Server = request.getfixturevalue("s3_server")
    return Location(f"{server.make_bucket()}/out", server.storage_options)


@pytest.fixture
def store(location: Location) -> Store:
    return Store(location)


@pytest.fixture
def claims() -> Iterator[Callable[..., WriterClaim]]:
    """Make claims, and stop their heartbeats at the end."""
    made = []

    def make(store: Store, run_id: str, clock: Callable[[], float] = time.time) -> WriterClaim:
        made.append(WriterClaim(store, run_id, clock))
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


# Identity


def test_a_new_collection_keeps_what_it_was_made_with(store: Store) -> None:
    assert join_collection(store, IDENTITY) == IDENTITY
    assert read_identity(store) == IDENTITY
    before = snapshot(store)
    assert join_collection(store, IDENTITY) == IDENTITY
    assert snapshot(store) == before


@pytest.mark.parametrize("change", [{"embedder": "f" * 32}, {"embedder": "", "embedding_size": 0}])
def test_a_job_with_another_embedder_is_refused_naming_both(store: Store, change: dict[str, object]) -> None:
    join_collection(store, IDENTITY)
    wanted = replace(IDENTITY, **change)  # type: ignore[arg-type]
    with pytest.raises(
        InvalidCollection, match=rf"embedder {'e' * 12} \(8 values\).*{wanted.embedder[:12] or 'none'} "
    ):
        join_collection(store, wanted)
    assert read_identity(store) == IDENTITY


def test_two_jobs_that_join_at_once_agree(location: Location) -> None:
    wanted = [Identity("a" * 32, 4), Identity("b" * 32, 4)]
    together = threading.Barrier(2)

    def join(identity: Identity) -> Identity | None:
        together.wait()
        try:
            return join_collection(Store(location), identity)
        except InvalidCollection:
            return None

    with ThreadPoolExecutor(2) as jobs:
        joined = list(jobs.map(join, wanted))
    assert [identity for identity in joined if identity is not None] == [read_identity(Store(location))]


@pytest.mark.parametrize(
    "record", [b"", b"\xff", b"[]", b'"x"', b"{}", b'{"format_version": 1}', b'{"format_version": 2, "embedder": ""}']
)
def test_another_collection_file_is_refused_and_left_alone(tmp_path: Path, record: bytes) -> None:
    (tmp_path / layout.COLLECTION).write_bytes(record)
    store = Store(Location(str(tmp_path)))
    for look in (read_identity, check_location, lambda store: join_collection(store, IDENTITY)):
        with pytest.raises(InvalidCollection, match="reads version 1"):
            look(store)
    assert snapshot(store) == {layout.COLLECTION: record}


def test_a_place_without_a_collection_says_so(store: Store) -> None:
    with pytest.raises(InvalidCollection, match=r"holds no collection \(no collection.json\)"):
        read_identity(store)


@pytest.mark.parametrize("name", ["holiday.jpg", "images/ab/holiday.png"])
def test_a_foreign_folder_is_refused_and_nothing_is_written_there(store: Store, name: str) -> None:
    store.write(name, b"mine")
    store.sweep()
    with pytest.raises(InvalidCollection, match=f"holds '{name.split('/')[0]}', 1 files and folders"):
        join_collection(store, IDENTITY)
    assert snapshot(store) == {name: b"mine"}


def test_a_file_is_no_place_for_a_collection(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    store = Store(Location(str(tmp_path / "out")))
    with pytest.raises((InvalidCollection, NotADirectoryError)):
        join_collection(store, IDENTITY)
    assert (tmp_path / "out").read_bytes() == b"mine"


def test_a_place_that_only_a_killed_run_has_claimed_is_free(store: Store) -> None:
    store.write(layout.WRITER, claim_of("killed"))
    store.write(".tmp/half", b"x")
    assert join_collection(store, IDENTITY) == IDENTITY


# The claim of the one writer


def test_a_second_run_is_refused_while_the_first_is_alive(store: Store, claims: Callable[..., WriterClaim]) -> None:
    first = claims(store, "first")
    first.acquire()
    before = snapshot(store)
    with pytest.raises(
        CollectionBusy, match=rf"written by run first on {socket.gethostname()} \(process {os.getpid()}"
    ):
        claims(store, "second").acquire()
    assert snapshot(store) == before
    first.release()
    assert snapshot(store) == {}
    claims(store, "second").acquire()
    assert holder(store) == "second"


def test_a_run_may_claim_again_what_it_holds(store: Store, claims: Callable[..., WriterClaim]) -> None:
    claims(store, "first").acquire()
    claims(store, "first").acquire()
    assert holder(store) == "first"


def test_a_killed_runs_claim_is_taken_over_at_once(tmp_path: Path, claims: Callable[..., WriterClaim]) -> None:
    store = Store(Location(str(tmp_path)))
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        with pytest.raises(CollectionBusy, match=f"process {process.pid}"):
            claims(store, "next").acquire()
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        claims(store, "next").acquire()  # although the dead process is still a zombie
    assert holder(store) == "next"


def test_a_process_id_used_again_is_not_the_holder(store: Store, claims: Callable[..., WriterClaim]) -> None:
    # As after a restart of a container, where the new run has the old one's process id.
    now = time.time()
    earlier = psutil.Process().create_time() - 60
    record = claim_of("before", host=socket.gethostname(), pid=os.getpid(), process_started=earlier, beat=now)
    store.write(layout.WRITER, record)
    claims(store, "after").acquire()
    assert holder(store) == "after"


def test_a_holder_elsewhere_is_dead_once_its_beat_is_old(store: Store, claims: Callable[..., WriterClaim]) -> None:
    clock = Clock()
    store.write(layout.WRITER, claim_of("far", beat=clock.now))
    clock.now += 89
    with pytest.raises(CollectionBusy, match=r"last sign of life 89 s ago.*for 90 s is taken over"):
        claims(store, "near", clock).acquire()
    clock.now += 2
    claims(store, "near", clock).acquire()
    assert holder(store) == "near"


@pytest.mark.parametrize("record", [b"", b"[]", b"{}", b'{"name": "a novelist"}'])
def test_a_writer_file_of_somebody_elses_is_left_alone(tmp_path: Path, record: bytes) -> None:
    store = Store(Location(str(tmp_path)))
    store.write(layout.WRITER, record)
    with pytest.raises(InvalidCollection, match=r"writer.json .* is not a claim"):
        WriterClaim(store, "run").acquire()
    assert store.read(layout.WRITER) == record


def test_a_run_releases_its_own_claim_only(store: Store, claims: Callable[..., WriterClaim]) -> None:
    first = claims(store, "first")
    first.acquire()
    store.write(layout.WRITER, claim_of("second"))
    first.release()
    drop_claim(store, "first")
    assert holder(store) == "second"
    drop_claim(store, "second")
    drop_claim(store, "second")
    assert snapshot(store) == {}


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


@pytest.mark.parametrize("racers", [2, 3, 5])
def test_one_of_many_runs_that_all_see_a_dead_claim_takes_it_over(
    location: Location, claims: Callable[..., WriterClaim], racers: int
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

    Store(location).write(layout.WRITER, claim_of("dead"))
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
        dying = WriterClaim(DyingStore(location, lives), "dying", clock)
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


def test_the_claim_is_kept_alive_until_it_is_released(
    tmp_path: Path, claims: Callable[..., WriterClaim], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "_BEAT_S", 0.005)
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

    monkeypatch.setattr(collection, "_BEAT_S", 0.005)
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
    monkeypatch.setattr(collection, "_BEAT_S", 0.005)
    store = Store(Location(str(tmp_path)))
    slept = claims(store, "slept")
    slept.acquire()
    with caplog.at_level(logging.ERROR):
        theirs = claim_of("awake")
        store.write(layout.WRITER, theirs)
        await_condition(lambda: slept.is_lost)
    assert "run slept gave no sign of life" in caplog.text
    assert "to run awake" in caplog.text
    slept.release()
    assert store.read(layout.WRITER) == theirs
