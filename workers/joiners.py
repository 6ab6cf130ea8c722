"""Workers that join while a run draws: each is warmed where it waits, and only then given batches.

Knows nothing of how they are held back (`workers.waiting_room`), nor of how they were started. One that cannot be
warmed is told by name and tried again: it does not stop a run that others draw. Where there are no others it is let in,
and the batch that fails there tells why.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client
from distributed.client import ClosedClientError

from pressrun.batch import Batch
from pressrun.errors import PressrunError
from workers import waiting_room
from workers.cache.host_name import ip_of
from workers.direct_calls import in_thread
from workers.order import PrintOrder
from workers.warming import warm_worker

_GONE = (ClosedClientError, OSError)
_POLL_S = 0.5
_NEWS_S = 5.0
_CALM_S = 30.0  # Dask logs each question to the waiting room, so it is asked when workers come, and seldom else
_AGAIN_S = 60.0
_LONG_S = 900.0
_MOST_FAILURES = 3  # in a row, where nobody else draws
_LEAVING_TRIES = 5

logger = logging.getLogger(__name__)


class Joiners:
    """Warms who joins, as long as a run has batches under way.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    run_id : str
        The run.
    cold : callable
        Returns those of the workers that joined after the others were warmed; asked once, before the first batch.
    warmed : callable
        Told the address of each worker that is warm.
    """

    def __init__(
        self, client: Client, run_id: str, cold: Callable[[], set[str]], warmed: Callable[[str], None]
    ) -> None:
        self._client, self._run_id, self._cold_at_first, self._warmed = client, run_id, cold, warmed
        self._sample: tuple[PrintOrder, Batch] | None = None
        self._lock = threading.Lock()
        self._users = 0
        self._numbers = itertools.count()
        self._ready: set[str] | None = None
        self.there: set[str] = set()  # who was seen last

    def draw_like(self, order: PrintOrder, batch: Batch) -> None:
        """Warm workers from now on for batches like this one."""
        self._sample = order, batch

    @contextmanager
    def met(self) -> Iterator[None]:
        """Have who joins inside the block wait until it is warm; several blocks may be open at once."""
        with self._lock:
            if not self._users:
                self._over = self._begin()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._over.set()

    def warm(self, worker: str) -> bool:
        """Warm one worker and return True, or False when there is nothing yet to warm it by."""
        if self._sample is None:
            return False
        order, batch = self._sample
        self._client.run(warm_here, order, batch, workers=[worker])
        if self._ready is not None:
            self._ready.add(worker)
        self._warmed(worker)
        return True

    def warm_workers(self) -> int:
        """Return how many of the workers that were there a moment ago are warm."""
        return len(self.there & (self._ready or set()))

    def _begin(self) -> threading.Event:
        visit = _Visit(self, self._client, f"{self._run_id}-{next(self._numbers)}")
        threading.Thread(target=visit.look_after, name="joiners", daemon=True).start()
        try:
            waiting_room.enter(self._client, visit.name, [])  # who comes while it is asked who has come waits too
            if cold := self.cold():
                waiting_room.enter(self._client, visit.name, sorted(cold))
        except _GONE:  # whoever submits batches to a cluster that is gone is told so
            logger.debug("nobody can be met", exc_info=True)
        except BaseException:
            visit.over.set()  # nobody waits for a run that does not begin
            raise
        return visit.over

    def cold(self) -> set[str]:
        """Return the workers that are there and were not warmed."""
        there = set(self._client.nthreads())
        if self._ready is None:
            self._ready = there - self._cold_at_first()
        return there - self._ready


class _Visit:
    """A time in which joiners are met; a thread of its own looks after them, so that no batch waits for one."""

    def __init__(self, joiners: Joiners, client: Client, name: str) -> None:
        self.name = name
        self.over = threading.Event()
        self._joiners, self._client = joiners, client
        self._since_s: dict[str, float] = {}  # when the warming of those began that are at it
        self._failed_s: dict[str, float] = {}  # by worker
        self._died_s: dict[str, float] = {}  # by host, as who comes instead of one that died has another address
        self._failures = 0  # since one was warmed last
        self._told: set[str] = set()
        self._there: set[str] = set()
        self._asked_s = self._news_s = -math.inf

    def look_after(self) -> None:
        """Warm who waits, and let in who is warm, until the visit is over."""
        while not self.over.wait(_POLL_S) and self._client.status != "closed":
            self._try(self._look)
        for _ in range(_LEAVING_TRIES):  # the client may stay, and everybody who joins would wait for it
            if self._try(lambda: waiting_room.leave(self._client, self.name)) or self._client.status == "closed":
                return
            time.sleep(_POLL_S)

    def _try(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except Exception:  # the cluster or the client is going away, which lets everybody in, or the next look does it
            logger.debug("the waiting room could not be looked after", exc_info=True)
            return False
        return True

    def _look(self) -> None:
        if not self._has_news():
            return
        found = waiting_room.waiting_for(self._client, self.name)
        self._asked_s = time.monotonic()
        if found is None:
            waiting_room.enter(self._client, self.name, sorted(self._joiners.cold()))
            return
        waiting, has_others = found
        if waiting:
            self._news_s = self._asked_s
        for gone in set(self._failed_s).difference(waiting):
            self._died_s[ip_of(gone)] = self._failed_s.pop(gone)
        is_hopeless = not has_others and (
            all(worker in self._failed_s for worker in waiting)
            or (self._failures >= _MOST_FAILURES and not self._since_s)
        )
        for worker in waiting:
            self._meet(worker, is_hopeless, has_others)

    def _has_news(self) -> bool:
        """Return whether to ask the waiting room: somebody came, waited a moment ago, or it was not asked for long."""
        there, now_s = set(self._client.nthreads()), time.monotonic()
        if there != self._there:
            self._there = self._joiners.there = there
            self._news_s = now_s
        return now_s - self._news_s < _NEWS_S or now_s - self._asked_s > _CALM_S

    def _meet(self, worker: str, is_hopeless: bool, has_others: bool) -> None:
        now_s = time.monotonic()
        if worker in self._since_s:
            if now_s - self._since_s[worker] > _LONG_S and worker not in self._told:
                self._told.add(worker)
                logger.warning("the worker %s is not warm after %.0f s, and gets no batches before", worker, _LONG_S)
        elif is_hopeless:
            waiting_room.let_in(self._client, self.name, worker)
        elif now_s - self._last_failure_s(worker, has_others) >= _AGAIN_S:
            self._since_s[worker] = now_s
            threading.Thread(target=self._warm, args=[worker], name="warm-joiner", daemon=True).start()

    def _last_failure_s(self, worker: str, has_others: bool) -> float:
        died_s = self._died_s.get(ip_of(worker), -math.inf) if has_others else -math.inf
        return max(died_s, self._failed_s.get(worker, -math.inf))

    def _warm(self, worker: str) -> None:
        try:
            if self._joiners.warm(worker):
                self._failures = 0
                self._failed_s.pop(worker, None)
                waiting_room.let_in(self._client, self.name, worker)
        except Exception as error:  # whatever it is, others draw on
            self._failed_s[worker] = time.monotonic()
            self._failures += 1
            if not self.over.is_set():
                said = f": {error}" if isinstance(error, PressrunError) else ""
                logger.warning(
                    "the worker %s could not be warmed and gets no batches, it is tried again in %.0f s (%s%s)",
                    *(worker, _AGAIN_S, type(error).__name__, said),
                )
        finally:
            self._since_s.pop(worker, None)


async def warm_here(order: PrintOrder, sample: Batch, dask_worker: Any = None) -> None:
    """Warm the worker that this is called on, in one of its threads for tasks: where it waits it is given none.

    Parameters
    ----------
    order, sample : PrintOrder, Batch
        As for `workers.warming.warm_worker`.
    dask_worker : distributed.Worker
        The worker; Dask fills it in.
    """
    await in_thread(dask_worker, dask_worker.executor, warm_worker, order, sample)


__all__ = ["Joiners", "warm_here"]
