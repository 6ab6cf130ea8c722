"""The lock that makes a process its host's keeper, on real files."""

from __future__ import annotations

import threading
from pathlib import Path

from workers.cache.host_lock import HostLock

PATIENCE_S = 10.0


def test_who_lets_go_while_it_becomes_holder_holds_nothing_afterwards(tmp_path: Path) -> None:
    lock, other = HostLock(tmp_path / "lock"), HostLock(tmp_path / "lock")
    held, may_go_on, is_others = threading.Event(), threading.Event(), threading.Event()
    ready: list[bool] = []

    def begin() -> None:
        held.set()
        may_go_on.wait(PATIENCE_S)
        ready.append(True)

    lock.when_held(begin)
    assert held.wait(PATIENCE_S)
    threading.Timer(0.1, may_go_on.set).start()
    lock.release()
    assert ready, "what was begun is whole before it can be torn down"
    other.when_held(is_others.set)
    assert is_others.wait(PATIENCE_S)
    other.release()
