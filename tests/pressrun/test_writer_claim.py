from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pressrun import layout, writer_claim
from pressrun.errors import CollectionBusy, InvalidCollection
from pressrun.location import Location
from pressrun.storage import Store
from pressrun.writer_claim import WriterClaim, drop_claim
from tests.pressrun.claiming import Clock, holder
from tests.pressrun.small_collection import DEAD_PID, claim_of, snapshot

HOLDER = """
import sys
from pressrun.location import Location
from pressrun.storage import Store
from pressrun.writer_claim import WriterClaim
WriterClaim(Store(Location(sys.argv[1])), "killed").acquire()
print("claimed", flush=True)
sys.stdin.read()
"""


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
    store.write(layout.WRITER, claim_of("far", host="elsewhere", beat=clock.now))
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


@pytest.mark.parametrize("name", ["boot", "pid_namespace", "host"])
def test_a_live_holder_whose_process_id_means_nothing_here_is_not_taken_for_dead(
    store: Store, claims: Callable[..., WriterClaim], name: str
) -> None:
    # As in another container of this host, or on another host of the same name.
    store.write(layout.WRITER, claim_of("theirs", beat=time.time() - 60, **{name: "another"}))
    with pytest.raises(CollectionBusy, match="run theirs"):
        claims(store, "ours", pause=pytest.fail).acquire()
    assert holder(store) == "theirs"


def test_a_record_of_an_earlier_version_is_judged_by_its_beat_alone(
    store: Store, claims: Callable[..., WriterClaim]
) -> None:
    record = {"run_id": "old", "host": socket.gethostname(), "pid": DEAD_PID, "process_started": 1.0}
    store.write(layout.WRITER, json.dumps(record | {"beat": time.time()}).encode())
    with pytest.raises(CollectionBusy, match="run old"):
        claims(store, "new").acquire()


@pytest.mark.parametrize("skew_s", [-7200, -91, 91, 7200])
def test_a_holder_whose_clock_is_wrong_is_alive_while_its_claim_changes(
    store: Store, claims: Callable[..., WriterClaim], skew_s: float
) -> None:
    clock = Clock()
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        clock.now += seconds
        if sum(waited) >= 15:
            store.write(layout.WRITER, claim_of("far", host="elsewhere", beat=clock.now + skew_s))

    store.write(layout.WRITER, claim_of("far", host="elsewhere", beat=clock.now + skew_s))
    with pytest.raises(CollectionBusy, match="run far on elsewhere"):
        claims(store, "near", clock, pause).acquire()
    assert 15 <= sum(waited) < 20
    assert holder(store) == "far"


@pytest.mark.parametrize("skew_s", [-7200, 7200])
def test_a_holder_elsewhere_that_stays_silent_for_two_beats_is_dead(
    store: Store, claims: Callable[..., WriterClaim], skew_s: float
) -> None:
    clock = Clock()
    waited: list[float] = []
    store.write(layout.WRITER, claim_of("far", host="elsewhere", beat=clock.now + skew_s))
    claims(store, "near", clock, waited.append).acquire()
    assert sum(waited) > 2 * writer_claim._BEAT_S
    assert holder(store) == "near"


def test_a_silent_holder_that_gives_the_claim_free_is_followed_at_once(
    store: Store, claims: Callable[..., WriterClaim]
) -> None:
    store.write(layout.WRITER, claim_of("far", host="elsewhere"))
    claims(store, "near", pause=lambda seconds: drop_claim(store, "far")).acquire()
    assert holder(store) == "near"


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path: Path, claims: Callable[..., WriterClaim]) -> None:
    class ReadOnly(Store):
        def create(self, name: str, data: bytes) -> bool:
            raise PermissionError("read-only")

    with pytest.raises(InvalidCollection, match=r"cannot be used \(PermissionError: read-only\)"):
        claims(ReadOnly(Location(str(tmp_path))), "run").acquire()
