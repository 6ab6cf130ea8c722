"""The waiting room on the Dask scheduler: who joins while runs draw gets no tasks before each of these has warmed it.

Knows nothing of models or batches. A worker is held back by not passing on that it runs, the way Dask has for workers
that are just starting or short of memory: its queue, its balancing and every kind of task pass such workers by.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from distributed import Client, Scheduler, SchedulerPlugin
from distributed.core import Status

_NAME = "pressrun-waiting-room"
_HELD = (Status.init, Status.paused)  # what a worker that waits is to Dask


class WaitingRoom(SchedulerPlugin):  # type: ignore[misc]  # distributed carries no types
    """Who waits, and for which runs; a run is forgotten with its client, so nobody waits for one that died."""

    idempotent = True
    name = _NAME

    def __init__(self) -> None:
        self._clients: dict[str, str] = {}  # by run
        self._waiting: dict[str, set[str]] = {}  # by worker, the runs that have not let it in
        self._running: set[str] = set()  # of those that wait, who would be at work

    async def start(self, scheduler: Scheduler) -> None:
        """Begin to listen; called by Dask on the scheduler."""
        self._scheduler = scheduler
        scheduler.stream_handlers["worker-status-change"] = self._hear

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Have a worker wait, if there is a run to wait for; called by Dask before the worker can be given a task."""
        self._hold(worker, self._clients)

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """Forget a worker that is gone; called by Dask."""
        self._waiting.pop(worker, None)
        self._running.discard(worker)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Have nobody wait for the runs of a client that is gone; called by Dask."""
        for run in [run for run, its_client in self._clients.items() if its_client == client]:
            self.leave(run)

    def enter(self, run: str, client: str, cold: Iterable[str]) -> None:
        """Have who joins from now on wait for a run, with who waits for others, and some that came just before."""
        if client not in self._scheduler.clients:  # it went while this was on its way, and nobody would let them in
            return
        self._clients[run] = client
        for worker in {*self._waiting, *cold}:
            self._hold(worker, [run])

    def leave(self, run: str) -> None:
        """Have nobody wait for a run any more."""
        self._clients.pop(run, None)
        for worker in list(self._waiting):
            self.let_in(run, worker)

    def let_in(self, run: str, worker: str) -> None:
        """Note that a run has warmed a worker; once all have that it waits for, it is given tasks."""
        runs = self._waiting.get(worker, set())
        runs.discard(run)
        if not runs and self._waiting.pop(worker, None) is not None and worker in self._running:
            self._running.discard(worker)
            known = self._scheduler.workers.get(worker)
            if known is not None and known.status in _HELD:  # Dask may be about to close it
                self._tell(worker, Status.running.name)

    def waiting_for(self, run: str) -> tuple[list[str], bool] | None:
        """Return who waits for a run, and whether somebody else is there to work; None for a run it does not know."""
        if run not in self._clients:
            return None
        return [worker for worker, runs in self._waiting.items() if run in runs], bool(self._scheduler.running)

    def _hold(self, worker: str, runs: Iterable[str]) -> None:
        known = self._scheduler.workers.get(worker)
        if known is None or not (runs := set(runs)):
            return
        self._waiting.setdefault(worker, set()).update(runs)
        if known.status == Status.running:
            self._running.add(worker)
            self._tell(worker, Status.paused.name)

    def _hear(self, worker: str, status: str, stimulus_id: str) -> None:
        """Pass a worker's news of its status on, unless it says that it runs and has to wait."""
        self._running.discard(worker)
        known = self._scheduler.workers.get(worker)
        was_leaving = known is not None and known.status == Status.closing_gracefully
        if worker in self._waiting and status == Status.running.name:
            self._running.add(worker)
            if was_leaving:  # it was to be retired, and Dask thought better of it
                self._tell(worker, Status.paused.name)
            return
        self._scheduler.handle_worker_status_change(status, worker, stimulus_id)
        if was_leaving and status == Status.paused.name:
            # Dask gave back the status that it knew of, that of one held here; one short of memory pauses again itself.
            news = {"op": "worker-status-change", "status": Status.running.name, "stimulus_id": stimulus_id}
            self._scheduler.stream_comms[worker].send(news)

    def _tell(self, worker: str, status: str) -> None:
        self._scheduler.handle_worker_status_change(status, worker, f"waiting-room-{time.time()}")


def enter(client: Client, run: str, cold: list[str]) -> None:
    """Have workers that join from now on, and those that are `cold`, wait until they are let in to a run."""
    client.register_plugin(WaitingRoom())
    client.run_on_scheduler(_enter, run, client.id, cold)


def leave(client: Client, run: str) -> None:
    """Have no worker wait for a run any more."""
    client.run_on_scheduler(_leave, run)


def let_in(client: Client, run: str, worker: str) -> None:
    """Say that a worker is ready for a run."""
    client.run_on_scheduler(_let_in, run, worker)


def waiting_for(client: Client, run: str) -> tuple[list[str], bool] | None:
    """Return the workers that wait for a run, and whether there is another one that takes tasks.

    None means that the run has to enter again: its client was gone for a moment, or the scheduler was started anew.
    """
    found: tuple[list[str], bool] | None = client.run_on_scheduler(_waiting_for, run)
    return found


def _room(scheduler: Scheduler) -> WaitingRoom | None:
    room: WaitingRoom | None = scheduler.plugins.get(_NAME)
    return room


def _enter(run: str, client: str, cold: list[str], dask_scheduler: Scheduler) -> None:
    if room := _room(dask_scheduler):
        room.enter(run, client, cold)


def _leave(run: str, dask_scheduler: Scheduler) -> None:
    if room := _room(dask_scheduler):
        room.leave(run)


def _let_in(run: str, worker: str, dask_scheduler: Scheduler) -> None:
    if room := _room(dask_scheduler):
        room.let_in(run, worker)


def _waiting_for(run: str, dask_scheduler: Scheduler) -> tuple[list[str], bool] | None:
    room = _room(dask_scheduler)
    return None if room is None else room.waiting_for(run)


__all__ = ["WaitingRoom", "enter", "leave", "let_in", "waiting_for"]
