"""The lock that makes a process its host's keeper, on real files."""

from __future__ import annotations

import os
import queue
import signal
import threading
from pathlib import Path

from tests.workers.cache.chunk_hosts import until
from tests.workers.cache.stored_models import forked
from workers.cache.host_lock import HostLock

PATIENCE_S = 10.0


def test_who_lets_go_while_it_becomes_holder_holds_nothing_afterwards(tmp_path: Path) -> None:
    lock, other = HostLock(tmp_path / "lock"), HostLock(tmp_path / "lock")
    held, may_go_on, is_others = threading.Event(), threading.Event(), threading.Event()
    ready: list[bool] = []
    problems: list[Exception] = []

    def begin() -> None:
        held.set()
        may_go_on.wait(PATIENCE_S)
        ready.append(True)

    lock.when_held(begin, problems.append)
    assert held.wait(PATIENCE_S)
    threading.Timer(0.1, may_go_on.set).start()
    lock.release()
    assert ready, "what was begun is whole before it can be torn down"
    other.when_held(is_others.set, problems.append)
    assert is_others.wait(PATIENCE_S)
    other.release()
    assert not problems


def test_who_cannot_begin_says_why_and_lets_others_have_their_turn(tmp_path: Path) -> None:
    lock, other = HostLock(tmp_path / "lock"), HostLock(tmp_path / "lock")
    is_others = threading.Event()
    problems: queue.Queue[Exception] = queue.Queue()

    def begin() -> None:
        raise OSError("no more files")

    lock.when_held(begin, problems.put)
    assert str(problems.get(timeout=PATIENCE_S)) == "no more files"
    other.when_held(is_others.set, problems.put)
    assert is_others.wait(PATIENCE_S)
    lock.release()
    other.release()


def test_a_lock_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    lock = HostLock(tmp_path / "no folder" / "lock")
    problems: queue.Queue[Exception] = queue.Queue()
    lock.when_held(lambda: None, problems.put)
    assert isinstance(problems.get(timeout=PATIENCE_S), FileNotFoundError)
    lock.release()


def hold_and_fork(path: Path, told: int) -> None:
    held = threading.Event()
    HostLock(path).when_held(held.set, print)
    assert held.wait(PATIENCE_S)
    until(lambda: threading.active_count() == 1)
    child = os.fork()
    if child == 0:
        signal.pause()
    os.write(told, str(child).encode())
    signal.pause()


def test_a_killed_holders_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock, is_ours = HostLock(tmp_path / "lock"), threading.Event()
    with forked(hold_and_fork, tmp_path / "lock") as (holder, reads):
        child = int(os.read(reads, 20))
        try:
            os.kill(holder, signal.SIGKILL)
            lock.when_held(is_ours.set, print)
            assert is_ours.wait(PATIENCE_S)
        finally:
            os.kill(child, signal.SIGKILL)
    lock.release()
