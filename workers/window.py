"""A sliding window of Dask futures: enough in flight to keep workers busy, never more.

Knows nothing of what a receipt means. One window is shared by all open shards of a run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from queue import Empty, Queue

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from pressrun.batch import Batch
from pressrun.errors import RunCancelled, StageFailed
from pressrun.failures import Failure
from pressrun.manifest import manifest_schema
from workers.cancellation import stop_run
from workers.fleet import Fleet
from workers.order import PrintOrder
from workers.printing import Receipt, print_batch

logger = logging.getLogger(__name__)
_POLL_S = 0.5
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
    """

    def __init__(self, client: Client, order: PrintOrder, in_flight: int, patience_s: float = 300.0) -> None:
        self._client = client
        self._order = order
        self._slots = threading.BoundedSemaphore(in_flight)
        self._patience_s = patience_s
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Have every `receipts` loop end with RunCancelled at its next poll, and workers stop between two steps."""
        if not self._cancelled.is_set():
            self._cancelled.set()
            self._client.run(stop_run, self._order.run_id)

    def receipts(self, batches: Iterator[Batch]) -> Iterator[Receipt]:
        """Submit batches as slots come free and yield their receipts as they finish.

        Raises
        ------
        RunCancelled
            After `cancel`.
        StageFailed
            When the cluster stays without workers, or a batch fails for a reason that is not its own.
        """
        flight = _Flight(self._client, self._order, self._slots)
        idle_since = time.monotonic()
        try:
            while flight.top_up(batches) or flight.pending:
                if self._cancelled.is_set():
                    raise RunCancelled(f"Run {self._order.run_id} was cancelled.")
                receipt = flight.next_receipt()
                if receipt is not None:
                    yield receipt
                if receipt is not None or self._client.scheduler_info(n_workers=1)["workers"]:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > self._patience_s:
                    raise StageFailed(
                        f"The cluster had 0 workers for {self._patience_s:.0f} s with {len(flight.pending)} batches "
                        "waiting; start workers and run the job again: finished pictures are kept."
                    )
        finally:
            flight.land()


class _Flight:
    """One shard's futures."""

    def __init__(self, client: Client, order: PrintOrder, slots: threading.BoundedSemaphore) -> None:
        self._client = client
        self._order = order
        self._slots = slots
        self._finished: Queue[Future] = Queue()
        self._losses: dict[str, int] = {}
        self._submitted = 0
        self._backlog: deque[Batch] = deque()
        self.pending: dict[str, tuple[Future, Batch]] = {}

    def top_up(self, batches: Iterator[Batch]) -> bool:
        """Submit batches while slots are free; return whether there may be more."""
        while self._slots.acquire(blocking=False):
            batch = self._backlog.popleft() if self._backlog else next(batches, None)
            if batch is None:
                self._slots.release()
                return False
            self._submit(batch)
        return True

    def next_receipt(self) -> Receipt | None:
        """Return the next finished batch's receipt, or None when none came within the poll."""
        try:
            future = self._finished.get(timeout=_POLL_S)
        except Empty:
            return None
        _, batch = self.pending.pop(future.key)
        if future.status == "finished":
            self._slots.release()
            receipt: Receipt = future.result()
            return receipt
        return self._recover(future, batch)

    def land(self) -> None:
        """Drop what is still in flight and give its slots back."""
        for future, _ in self.pending.values():
            future.cancel()
            self._slots.release()
        self.pending.clear()

    def _submit(self, batch: Batch) -> None:
        self._submitted += 1
        key = f"print-{batch.batch_id}-{self._submitted}"
        future = self._client.submit(print_batch, batch, self._order, key=key, pure=False)
        self.pending[key] = (future, batch)
        future.add_done_callback(self._finished.put)

    def _recover(self, future: Future, batch: Batch) -> Receipt | None:
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            return self._narrow(batch, error)
        if error is not None:
            self._slots.release()
            raise StageFailed(f"Batch {batch.batch_id} failed: {type(error).__name__}: {error}") from error
        losses = self._losses.get(batch.batch_id, 0) + 1  # "lost" or "cancelled": the scheduler forgot it
        self._losses[batch.batch_id] = losses
        if losses > _RESUBMISSIONS:
            self._slots.release()
            raise StageFailed(f"The scheduler lost batch {batch.batch_id} {losses} times; check its log and run again.")
        self._submit(batch)
        return None

    def _narrow(self, batch: Batch, error: KilledWorker) -> Receipt | None:
        """Search a batch that kills its workers for the request that does it."""
        if len(batch) == 1:
            self._slots.release()
            letter = Failure.of(str(batch.shared("image_id")), "render", error, 1)
            rows = manifest_schema(self._order.embedding_size).empty_table()
            return Receipt(batch.batch_id, rows, (letter,), "")
        logger.warning("batch %s killed its workers, bisecting its %d requests", batch.batch_id, len(batch))
        middle = (len(batch) + 1) // 2
        halves = [batch.requests.slice(0, middle), batch.requests.slice(middle)]
        self._backlog.extend(
            replace(batch, batch_id=f"{batch.batch_id}-{number}", requests=rows) for number, rows in enumerate(halves)
        )
        self._slots.release()
        return None


def open_window(fleet: Fleet, order: PrintOrder, workers: int) -> Window:
    """Return a window over a fleet, wide enough for its workers."""
    return Window(fleet.open(), order, _BATCHES_PER_WORKER * max(1, workers))
