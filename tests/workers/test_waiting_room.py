"""The waiting room when something goes wrong with the runs that it works for, on a real scheduler."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import Client, LocalCluster
from distributed.core import Status

from tests.awaiting import until
from workers import joiners, waiting_room
from workers.joiners import Joiners

ROOM = waiting_room.WaitingRoom.name


@pytest.fixture
def client() -> Iterator[Client]:
    """Give a cluster of one worker."""
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
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


@pytest.mark.parametrize("held", ["before", "after"])
def test_who_was_to_be_retired_and_could_not_be_is_at_work_again_once_let_in(client: Client, held: str) -> None:
    (worker,) = client.nthreads()
    only_copy = client.submit(sum, [1, 2])
    assert only_copy.result() == 3
    waiting_room.enter(client, "drawing-0", [worker] if held == "before" else [])
    client.run_on_scheduler(retire, worker, client.id, held)
    until(lambda: statuses(client) == {"paused"})
    waiting_room.let_in(client, "drawing-0", worker)
    assert client.submit(sum, [1, 2, 3]).result(timeout=10) == 6


async def retire(worker: str, client: str, held: str, dask_scheduler: Any = None) -> None:
    """Begin to retire a worker whose data can go nowhere, and have a run hold it before or meanwhile."""
    retiring = asyncio.ensure_future(dask_scheduler.retire_workers([worker]))
    while dask_scheduler.workers[worker].status != Status.closing_gracefully:
        await asyncio.sleep(0)
    if held == "after":
        dask_scheduler.plugins[ROOM].enter("drawing-0", client, [worker])
    assert await retiring == {}


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
