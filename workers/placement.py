"""Where a window's batches go: to workers that hold their model, where workers differ in what they hold.

Knows nothing of what comes back. A batch is never bound for good: Dask would wait for ever for a worker that does not
come back under its address, so whoever was named and is gone, or takes too long, is made a matter of indifference.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future

from pressrun.batch import Batch
from pressrun.cache.affinity import Candidate, Wanted, choose
from workers.holdings import Holdings
from workers.joiners import Joiners
from workers.order import PrintOrder
from workers.printing import Receipt, print_batch, renderer_key

PIN_S = 60.0
_FETCH_S = 5.0


@dataclass(frozen=True, slots=True)
class _Named:
    """The workers that a batch was sent to, and when others may take it."""

    places: tuple[str, ...]
    until_s: float


class Placement:
    """Submits batches, each to the workers that suit it.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    order : PrintOrder
        The run's standing instructions.
    head_start : float
        How many batches more a worker may have than one that it suits less, before that is preferred.
    pin_s : float
        How long a batch that is bound to some workers waits for them before any may take it.
    """

    def __init__(self, client: Client, order: PrintOrder, head_start: float, pin_s: float = PIN_S) -> None:
        self._client, self.order, self._head_start, self._pin_s = client, order, head_start, pin_s
        self._mode = order.cache.affinity
        self._holdings = Holdings(client, order.cache_folder)
        self._lock = threading.Lock()
        self._named: dict[str, _Named] = {}
        self._load: defaultdict[str, float] = defaultdict(float)
        self._joiners = Joiners(client, order.run_id, self._cold, self._holdings.doubt)

    def at_work(self, sample: Batch | None = None) -> AbstractContextManager[None]:
        """Be about to submit batches: workers that join inside the block are given none before they are warm.

        They are warmed by the last batch that was submitted, or by the sample until there is one.
        """
        if sample is not None:
            self._joiners.draw_like(self.order, sample)
        return self._joiners.met()

    def submit(self, batch: Batch, key: str) -> Future:
        """Send a batch off under a key of its own, and return its future."""
        order = self.order.for_batch(batch)
        places = None if self._mode == "off" else self._choose(order)
        if places is not None:
            self._remember(key, places)
        self._joiners.draw_like(order, batch)
        return self._client.submit(
            print_batch,
            batch,
            order,
            key=key,
            pure=False,
            workers=places and list(places),
            allow_other_workers=places is not None and self._mode == "soft",
        )

    def receipt_of(self, future: Future) -> Receipt | None:
        """Return a batch's receipt; None where it has none, or has it no more, as its worker died with it."""
        if future.status != "finished":
            return None
        try:
            receipt: Receipt = future.result(timeout=_FETCH_S)
        except Exception as error:
            if future.status == "finished" and not isinstance(error, TimeoutError):
                raise  # what it returned cannot be read, which another try does not change
            return None
        return receipt

    def workers(self) -> int:
        """Return how many workers draw; those that wait to be warmed do not count."""
        return self._joiners.warm_workers()

    def landed(self, key: str, receipt: Receipt | None = None) -> None:
        """Note that a batch is under way no more, and what its receipt says of its worker."""
        self._forget(key)
        if receipt is not None:
            self._holdings.note(receipt.address, receipt.in_memory)

    def free_overdue(self) -> None:
        """Let any worker take the batches whose own are gone, or that have waited for theirs long enough."""
        if not self._named or self._client.status != "running":
            return
        there, now_s = self._holdings.known().keys(), time.monotonic()
        with self._lock:
            overdue = [
                key for key, named in self._named.items() if now_s > named.until_s or there.isdisjoint(named.places)
            ]
        # One that the scheduler does not know is on its way there still, and is freed at the next call.
        for key in self._client.run_on_scheduler(set_free, overdue) if overdue else ():
            self._forget(key)

    def _choose(self, order: PrintOrder) -> tuple[str, ...] | None:
        known = self._holdings.known()
        is_everywhere = order.model.is_local or order.cache.runtime == "mount"
        wanted = Wanted(renderer_key(order), "" if is_everywhere else order.facts.revision)
        with self._lock:
            candidates = [
                Candidate(address, held.zone, held.in_memory, held.on_disk, self._load.get(address, 0.0))
                for address, held in known.items()
            ]
        return choose(candidates, wanted, self._mode, self._head_start)

    def _remember(self, key: str, places: tuple[str, ...]) -> None:
        waits_s = self._pin_s if self._mode == "hard" else math.inf
        with self._lock:
            self._named[key] = _Named(places, time.monotonic() + waits_s)
            self._count(places, 1)

    def _forget(self, key: str) -> None:
        with self._lock:
            named = self._named.pop(key, None)
            if named is not None:
                self._count(named.places, -1)

    def _count(self, places: tuple[str, ...], sign: int) -> None:
        for place in places:
            self._load[place] += sign / len(places)

    def _cold(self) -> set[str]:
        """Return the workers without a model of the run where others have one: they came after these were warmed."""
        held = self._holdings.known()
        own = {renderer_key(order) for order in (self.order, *self.order.others.values())}
        cold = {address for address, holding in held.items() if own.isdisjoint(holding.in_memory)}
        return cold if len(cold) < len(held) else set()


def set_free(keys: list[str], dask_scheduler: Any = None) -> list[str]:
    """Let any worker take tasks that were sent to certain ones; called in the scheduler.

    Parameters
    ----------
    keys : list of str
        The tasks; those that are done are passed over, those at work stay where they are.
    dask_scheduler : distributed.Scheduler
        The scheduler; Dask fills it in.

    Returns
    -------
    list of str
        Those of the tasks that there are.
    """
    # A wish, too, binds a task that found no worker at all when it came: it is only looked at again for those it names.
    tasks = {key: dask_scheduler.tasks[key] for key in keys if key in dask_scheduler.tasks}
    for task in tasks.values():
        task.worker_restrictions = None
    waiting = {key: "processing" for key, task in tasks.items() if task.state == "no-worker"}
    dask_scheduler.transitions(waiting, stimulus_id=f"set-free-{time.time()}")
    return list(tasks)
