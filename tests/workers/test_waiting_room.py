"""The waiting room when something goes wrong with the runs that it works for, on a real scheduler."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import Client, LocalCluster
from distributed.core import Status

from tests.awaiting import PATIENCE_S, until
from workers import joiners, waiting_room
from workers.joiners import Joiners

ROOM = waiting_room.WaitingRoom.name


@pytest.fixture
def client() -> Iterator[Client]:
    """Give a cluster of one worker."""
    with (
        LocalCluster(n_workers=1, processes=False, memory_limit=0, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joiners, "_POLL_S", 0.02)


def statuses(client: Client) -> set[str]:
    return {worker["status"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()}


def one_more(client: Client) -> str:
    """Return a worker that has just joined."""
    before = set(client.nthreads())
    client.cluster.scale(len(before) + 1)
    joiner: str = until(lambda: set(client.nthreads()) - before).pop()
    return joiner


def meet(client: Client) -> Joiners:
    return Joiners(client, "drawing", set, lambda _: None)


def waits(client: Client, worker: str) -> bool:
    found = waiting_room.waiting_for(client, "drawing-0")
    return found is not None and worker in found[0]


def test_nobody_waits_for_a_run_whose_client_went_before_it_entered(client: Client) -> None:
    waiting_room.enter(client, "other", [])
    client.run_on_scheduler(enter, "Client-gone")
    waiting_room.leave(client, "other")
    assert waiting_room.waiting_for(client, "late") is None
    one_more(client)
    until(lambda: statuses(client) == {"running"})


def enter(client: str, dask_scheduler: Any = None) -> None:
    dask_scheduler.plugins[ROOM].enter("late", client, list(dask_scheduler.workers))


def test_nobody_waits_for_a_run_that_could_not_begin(client: Client) -> None:
    def cannot_tell() -> set[str]:
        raise RuntimeError("nobody can tell")

    never = Joiners(client, "drawing", cannot_tell, lambda _: None)
    with pytest.raises(RuntimeError, match="nobody can tell"), never.met():
        pass
    until(lambda: waiting_room.waiting_for(client, "drawing-0") is None)
    one_more(client)
    until(lambda: statuses(client) == {"running"})


@pytest.mark.parametrize("loss", ["its client was gone for a moment", "the scheduler was started anew"])
def test_a_run_that_was_forgotten_enters_again_and_who_came_meanwhile_waits(client: Client, loss: str) -> None:
    with meet(client).met():
        client.run_on_scheduler(forget if "client" in loss else forget_all, client.id)
        joiner = one_more(client)
        until(lambda: waits(client, joiner))
    until(lambda: statuses(client) == {"running"})


def forget(client: str, dask_scheduler: Any = None) -> None:
    dask_scheduler.plugins[ROOM].remove_client(dask_scheduler, client)


def forget_all(client: str, dask_scheduler: Any = None) -> None:
    dask_scheduler.remove_plugin(ROOM)


def test_a_run_that_could_not_leave_leaves_a_moment_later(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    leave, tries = waiting_room.leave, []

    def fail_once(*arguments: Any) -> None:
        tries.append(arguments)
        if len(tries) == 1:
            raise OSError("the connection broke")
        leave(*arguments)

    monkeypatch.setattr(waiting_room, "leave", fail_once)
    with meet(client).met():
        joiner = one_more(client)
        until(lambda: waits(client, joiner))
    until(lambda: statuses(client) == {"running"})


def test_who_is_about_to_close_is_not_given_tasks_again(client: Client) -> None:
    (worker,) = client.nthreads()
    waiting_room.enter(client, "drawing-0", [worker])
    assert statuses(client) == {"paused"}
    client.run_on_scheduler(close_soon, worker)
    waiting_room.let_in(client, "drawing-0", worker)
    assert statuses(client) == {"closing_gracefully"}
    client.run_on_scheduler(close_soon, worker, Status.running)


def close_soon(worker: str, status: Status = Status.closing_gracefully, dask_scheduler: Any = None) -> None:
    dask_scheduler.handle_worker_status_change(status, worker, "test")


def test_who_was_to_be_retired_when_a_run_began_and_stays_after_all_takes_tasks_once_it_is_let_in(
    client: Client,
) -> None:
    (worker,) = client.nthreads()
    client.run_on_scheduler(order, worker, "closing_gracefully")
    until(lambda: own_statuses(client) == {"closing_gracefully"} == statuses(client))
    waiting_room.enter(client, "drawing-0", [worker])
    client.run_on_scheduler(order, worker, "running")
    until(lambda: statuses(client) == {"paused"})
    waiting_room.let_in(client, "drawing-0", worker)
    assert statuses(client) == {"running"} == own_statuses(client)


@pytest.mark.parametrize("is_let_in_first", [False, True])
def test_who_waits_and_cannot_be_retired_takes_tasks_once_it_is_let_in(client: Client, is_let_in_first: bool) -> None:
    (worker,) = client.nthreads()
    only_copy = client.submit(len, "ab")
    assert only_copy.result() == 2
    waiting_room.enter(client, "drawing-0", [worker])
    if is_let_in_first:
        client.run_on_scheduler(order, worker, "closing_gracefully")
        until(lambda: own_statuses(client) == {"closing_gracefully"} == statuses(client))
        waiting_room.let_in(client, "drawing-0", worker)
        client.run_on_scheduler(order, worker, "paused")
    else:
        client.retire_workers([worker], close_workers=False)
        until(lambda: own_statuses(client) == {"running"})
        until(lambda: statuses(client) == {"paused"})
        waiting_room.let_in(client, "drawing-0", worker)
    until(lambda: statuses(client) == {"running"} == own_statuses(client))
    assert client.submit(len, "abc").result(timeout=PATIENCE_S) == 3


def order(worker: str, status: str, dask_scheduler: Any = None) -> None:
    """Tell a worker its status, as Dask does while it retires one."""
    news = {"op": "worker-status-change", "status": status, "stimulus_id": "test"}
    dask_scheduler.stream_comms[worker].send(news)


def own_statuses(client: Client) -> set[str]:
    """Return what the workers themselves say."""
    return set(client.run(lambda dask_worker: dask_worker.status.name).values())


def test_the_room_is_asked_only_while_somebody_comes_or_waits(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, asked = waiting_room.waiting_for, []
    monkeypatch.setattr(waiting_room, "waiting_for", lambda *which: (asked.append(which), ask(*which))[1])
    monkeypatch.setattr(joiners, "_NEWS_S", 0.2)
    monkeypatch.setattr(Joiners, "warm", lambda *_: True)
    with meet(client).met():
        until(lambda: asked)
        count = until(lambda: rests(asked))
        joiner = one_more(client)
        until(lambda: len(asked) > count)
        until(lambda: joiner in client.nthreads() and statuses(client) == {"running"})
        until(lambda: rests(asked))


def rests(asked: list[Any]) -> int:
    """Return how often was asked, if it is asked no more."""
    count = len(asked)
    time.sleep(0.3)
    return count if len(asked) == count else 0


class Crash:
    """Joiners whose every warming kills its worker; the next one has another address of the same host."""

    def __init__(self, has_others: bool) -> None:
        self.has_others = has_others
        self.met: list[str] = []
        self.let_in: list[str] = []
        self.number = 0

    def warm(self, worker: str) -> bool:
        self.met.append(worker)
        raise OSError("the connection broke")

    def waiting_for(self, *_: Any) -> tuple[list[str], bool]:
        self.number += 1
        return [f"tcp://10.0.0.1:{self.number}"], self.has_others


@pytest.mark.parametrize("has_others", [True, False])
def test_workers_that_die_of_warming_are_not_warmed_again_and_again(
    client: Client, has_others: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = Crash(has_others)
    monkeypatch.setattr(waiting_room, "waiting_for", crash.waiting_for)
    monkeypatch.setattr(waiting_room, "let_in", lambda _, __, worker: crash.let_in.append(worker))
    monkeypatch.setattr(Joiners, "warm", lambda _, worker: crash.warm(worker))
    monkeypatch.setattr(joiners, "_POLL_S", 0.05)
    with meet(client).met():
        until(lambda: crash.number > 12)
    if has_others:  # the next one of that host is tried in a minute
        assert (len(crash.met), crash.let_in) == (1, [])
    else:  # and its batch tells why
        assert len(crash.met) == 3
        assert crash.let_in
