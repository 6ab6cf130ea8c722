"""A sliding window of Dask futures: enough in flight to keep workers busy, never more.

Knows nothing of what a receipt means. One window is shared by all open shards of a run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from queue import Empty, Queue

from distributed import Client, Future
from distributed.client import ClosedClientError
from distributed.scheduler import KilledWorker

from pressrun.batch import Batch
from pressrun.errors import RunCancelled, StageFailed
from pressrun.failures import Failure
from pressrun.manifest import manifest_schema
from workers.cancellation import stop_run
from workers.fleet import Fleet
from workers.order import PrintOrder
from workers.placement import Placement
from workers.printing import Receipt
from workers.slots import Slots

logger = logging.getLogger(__name__)
_GONE = (ClosedClientError, OSError)
_UNDER_WAY = ("pending", "finished")  # a future whose receipt is not in hand
_POLL_S = 0.5
_TELLING_S = 5.0
_RESUBMISSIONS = 3
_BATCHES_PER_WORKER = 3  # two keep both threads of a worker busy, the third is on its way


class Window:
    """Bounded submission of batches to a cluster.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    order : PrintOrder
        The run's standing instructions.
    in_flight : int
        Batches on the cluster at once, over all shards; 2-4 a worker keeps them fed.
    patience_s : float
        How long a cluster may be without any worker before the run gives up.
    stall_s : float
        How long a shard with batches on the cluster may go without one of them finishing.
    each : int
        Batches for each worker that the window widens to when more workers draw; with 0 it stays as it is.
    """

    def __init__(
        self,
        client: Client,
        order: PrintOrder,
        in_flight: int,
        patience_s: float = 300.0,
        stall_s: float = 3600.0,
        each: int = 0,
    ) -> None:
        self._stall_s = stall_s
        self._each = each
        self._client = client
        self._order = order
        self._slots = Slots(in_flight)
        self._placement = Placement(client, order, _BATCHES_PER_WORKER)
        self._patience_s = patience_s
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Have every `receipts` loop end with RunCancelled at its next poll, and workers stop between two steps."""
        if self._cancelled.is_set():
            return
        self._cancelled.set()
        telling = threading.Thread(target=self._tell_workers, name="cancel", daemon=True)
        telling.start()
        telling.join(_TELLING_S)  # a worker that hangs must not keep the run from ending

    def receipts(self, batches: Iterator[Batch]) -> Iterator[Receipt]:
        """Submit batches as slots come free and yield their receipts as they finish.

        A batch that kills its workers is bisected. A single request that seems to is tried again with the cluster to
        itself: a worker has several batches at a time, and the killer may be another.

        Raises
        ------
        RunCancelled
            After `cancel`.
        StageFailed
            When the cluster stays without workers, or a batch fails for a reason that is not its own.
        """
        suspects: list[Batch] = []
        with self._placement.at_work():
            yield from self._fly(_Flight(self._client, self._placement, self._slots, suspects.append), batches)
            for suspect in suspects:
                with self._slots.alone():
                    yield from self._fly(_Flight(self._client, self._placement, Slots(1), None), iter([suspect]))

    def _fly(self, flight: _Flight, batches: Iterator[Batch]) -> Iterator[Receipt]:
        last_receipt = last_worker = time.monotonic()
        try:
            while not self._is_over(flight, batches):
                receipt = flight.next_receipt()
                self._placement.free_overdue()
                self._slots.widen_to(self._each * self._placement.workers())
                if receipt is not None:
                    yield receipt
                now = time.monotonic()
                if receipt is not None or not flight.pending:
                    last_receipt = last_worker = now
                elif self._has_workers():
                    last_worker = now
                self._check_patience(now - last_worker, now - last_receipt, flight.waiting)
        except _GONE as error:
            raise StageFailed(
                f"The Dask scheduler went away with {len(flight.pending)} batches in flight "
                f"({type(error).__name__}: {error}); start it and run the job again: finished pictures are kept."
            ) from error
        finally:
            flight.land()

    def _check_patience(self, without_workers_s: float, without_receipt_s: float, waiting: list[str]) -> None:
        if without_workers_s > self._patience_s:
            raise StageFailed(
                f"The cluster had 0 workers for {self._patience_s:.0f} s with {len(waiting)} batches waiting; "
                "start workers and run the job again: finished pictures are kept."
            )
        if without_receipt_s > self._stall_s:
            raise StageFailed(
                f"None of {len(waiting)} batches ({', '.join(waiting[:3])}) finished within {self._stall_s:.0f} s; "
                "look for a worker that hangs, restart it and run the job again: finished pictures are kept."
            )

    def _is_over(self, flight: _Flight, batches: Iterator[Batch]) -> bool:
        if self._cancelled.is_set():
            raise RunCancelled(f"Run {self._order.run_id} was cancelled.")
        return not flight.top_up(batches) and not flight.pending

    def _has_workers(self) -> bool:
        if self._client.status == "closed":
            raise ClosedClientError("the connection is closed")
        return bool(self._client.scheduler_info(n_workers=1).get("workers"))

    def _tell_workers(self) -> None:
        try:
            self._client.run(stop_run, self._order.run_id, on_error="ignore")
        except _GONE:  # no cluster is left to be told
            logger.warning("the workers could not be told to stop", exc_info=True)


class _Flight:
    """One shard's futures; `on_suspect` takes single requests that seem to kill workers, None convicts them."""

    def __init__(
        self, client: Client, placement: Placement, slots: Slots, on_suspect: Callable[[Batch], None] | None
    ) -> None:
        self._client = client
        self._placement = placement
        self._slots = slots
        self._on_suspect = on_suspect
        self._finished: Queue[Future] = Queue()
        self._losses: dict[str, int] = {}
        self._submitted = 0
        self._backlog: deque[Batch] = deque()
        self.pending: dict[str, tuple[Future, Batch]] = {}

    @property
    def waiting(self) -> list[str]:
        """The ids of the batches on the cluster."""
        return [batch.batch_id for _, batch in self.pending.values()]

    def top_up(self, batches: Iterator[Batch]) -> bool:
        """Submit batches while slots are free; return whether there may be more."""
        while self._slots.take():
            batch = self._backlog.popleft() if self._backlog else next(batches, None)
            if batch is None:
                self._slots.give_back()
                return False
            self._submit(batch)
        return True

    def next_receipt(self) -> Receipt | None:
        """Return the next finished batch's receipt, or None when none came within the poll."""
        try:
            future = self._finished.get(timeout=_POLL_S)
        except Empty:
            return None
        receipt = self._placement.receipt_of(future)
        if receipt is None and future.status in _UNDER_WAY:  # its worker died with it, and it is printed again
            future.add_done_callback(self._finished.put)
            return None
        _, batch = self.pending.pop(future.key)
        self._slots.give_back()
        self._placement.landed(future.key, receipt)
        return self._recover(future, batch) if receipt is None else receipt

    def land(self) -> None:
        """Drop what is still in flight and give its slots back."""
        for key in self.pending:
            self._placement.landed(key)
            self._slots.give_back()
        with suppress(*_GONE):  # with the scheduler its futures are gone as well
            self._client.cancel([future for future, _ in self.pending.values()])
        self.pending.clear()

    def _submit(self, batch: Batch) -> None:
        self._submitted += 1
        # Two flights may print the same batch one after the other, and Dask must not take one for the other.
        key = f"print-{batch.batch_id}-{id(self)}-{self._submitted}"
        future = self._placement.submit(batch, key)
        self.pending[key] = (future, batch)
        future.add_done_callback(self._finished.put)

    def _recover(self, future: Future, batch: Batch) -> Receipt | None:
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            return self._narrow(batch, error)
        if isinstance(error, RunCancelled):
            raise error
        if error is not None:
            raise StageFailed(f"Batch {batch.batch_id} failed: {type(error).__name__}: {error}") from error
        losses = self._losses.get(batch.batch_id, 0) + 1  # "lost" or "cancelled": the scheduler forgot it
        self._losses[batch.batch_id] = losses
        if losses > _RESUBMISSIONS:
            raise StageFailed(f"The scheduler lost batch {batch.batch_id} {losses} times; check its log and run again.")
        self._backlog.append(batch)
        return None

    def _narrow(self, batch: Batch, error: KilledWorker) -> Receipt | None:
        """Search a batch that kills its workers for the request that does it."""
        if len(batch) > 1:
            logger.warning("batch %s killed its workers, bisecting its %d requests", batch.batch_id, len(batch))
            middle = (len(batch) + 1) // 2
            halves = [batch.requests.slice(0, middle), batch.requests.slice(middle)]
            self._backlog.extend(
                replace(batch, batch_id=f"{batch.batch_id}-{number}", requests=rows)
                for number, rows in enumerate(halves)
            )
            return None
        if self._on_suspect is not None:
            self._on_suspect(batch)
            return None
        letter = Failure.of(str(batch.shared("image_id")), "render", error, error.allowed_failures + 1)
        rows = manifest_schema(self._placement.order.embedding_size).empty_table()
        return Receipt(batch.batch_id, rows, (letter,), "")


def open_window(fleet: Fleet, order: PrintOrder, workers: int) -> Window:
    """Return a window over a fleet, wide enough for its workers and for those that join them."""
    return Window(fleet.open(), order, _BATCHES_PER_WORKER * max(1, workers), each=_BATCHES_PER_WORKER)
