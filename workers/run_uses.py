"""What runs use in this process: a run's models, adapters and embedder stay on the host's disk until it has ended.

A worker outlives runs and keeps models warm for the next one. Those hold memory only: on the disk of a host with a
budget, a model that no run uses has to make room for one that does. Knows nothing of how a run's end is told. A run
that was killed tells none, so one that has asked nothing of this process for a while counts as ended; it is taken up
again with its next task.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pressrun.location import Location
from pressrun.models.any_folder import AnyFacts
from workers.cache.pins import pinned
from workers.cache.private_folder import make_private
from workers.cache.revision_folder import RevisionFolder
from workers.cache.runtimes import is_in_place
from workers.cache.users import noted_user
from workers.model_host import model_host
from workers.order import PrintOrder
from workers.weights.run_pool import empty_pool, pool_in_use

PATIENCE_S = 1800.0  # others of a run may load, measure or compile for long while this process has nothing to do
_MOST_ENDED = 1000  # runs of which something may still begin here, as news of an end overtake it


@dataclass(slots=True)
class _Use:
    last_s: float
    at_work: int = 0
    has_ended: bool = False
    pins: ExitStack = field(default_factory=ExitStack)
    pinned: set[Path] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    has_memory: bool = False


class RunUses:
    """The runs that work in this process; safe for several threads.

    Parameters
    ----------
    patience_s : float
        After this time without a task a run counts as ended.
    clock : callable
        Seconds, from any start.
    """

    def __init__(self, patience_s: float = PATIENCE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s, self._clock = patience_s, clock
        self._runs: dict[str, _Use] = {}
        self._ended: deque[str] = deque(maxlen=_MOST_ENDED)
        self._lock = threading.Lock()
        self._watch: threading.Timer | None = None

    @contextmanager
    def working(self, order: PrintOrder, key: str) -> Iterator[None]:
        """Work for an order's run; what the order names stays on this host's disk from now until the run has ended.

        Parameters
        ----------
        order : PrintOrder
            What the run uses.
        key : str
            Names the renderer. Where the run has a memory pool, the renderer is closed at its end, with the pool.
        """
        with self._lock:
            use = self._runs.setdefault(order.run_id, _Use(self._clock()))
            use.at_work += 1
            use.has_ended = order.run_id in self._ended
        try:
            with self._lock:
                _pin(order, use)
                use.keys.add(key)
            yield
        finally:
            with self._lock:
                use.at_work -= 1
                use.last_s = self._clock()
            self._let_go()

    def end(self, run_id: str) -> None:
        """Let go of what a run uses, once its tasks here have ended; what of it begins only then keeps nothing."""
        with self._lock:
            self._ended.append(run_id)
            if run_id in self._runs:
                self._runs[run_id].has_ended = True
        self._let_go()

    def runs(self) -> tuple[str, ...]:
        """Return the runs that use something here."""
        with self._lock:
            return tuple(self._runs)

    def _let_go(self) -> None:
        with self._lock:
            now_s = self._clock()
            over = {
                run_id: use
                for run_id, use in self._runs.items()
                if not use.at_work and (use.has_ended or now_s - use.last_s >= self._patience_s)
            }
            for run_id in over:
                del self._runs[run_id]
            still_used = {key for use in self._runs.values() for key in use.keys}
            if self._runs and self._watch is None:
                self._watch = threading.Timer(self._patience_s, self._look)
                self._watch.daemon = True
                self._watch.start()
        for use in over.values():  # without the lock: closing a renderer waits for the device
            use.pins.close()
            if use.has_memory:
                model_host().unload(use.keys - still_used)
            empty_pool()

    def _look(self) -> None:
        with self._lock:
            self._watch = None
        self._let_go()


def _pin(order: PrintOrder, use: _Use) -> None:
    if order.cache.memory_bytes is not None and not use.has_memory:
        use.has_memory = True
        use.pins.enter_context(pool_in_use(order.cache))
    root = Path(order.cache_folder).expanduser()
    for location, facts in _needs(order):
        folder = RevisionFolder(root, facts.revision)
        if is_in_place(order, location) or folder.pin in use.pinned:
            continue
        make_private(root)
        use.pins.enter_context(pinned(folder.pin))
        with suppress(OSError):  # a full disk: this is for people, and the pin holds without it
            use.pins.enter_context(noted_user(root, facts.revision, f"run {order.run_id} in process {os.getpid()}"))
        use.pinned.add(folder.pin)


def _needs(order: PrintOrder) -> Iterator[tuple[Location, AnyFacts]]:
    yield order.model, order.facts
    for adapter in order.adapters:
        yield adapter.location, adapter
    if order.embedder is not None and order.embedder_facts is not None:
        yield order.embedder, order.embedder_facts


_uses = RunUses()


def run_uses() -> RunUses:
    """Return this process's."""
    return _uses


__all__ = ["RunUses", "run_uses"]
