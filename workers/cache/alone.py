"""A host without neighbours: the same keeper with a registry of its own, for commands outside a cluster."""

from __future__ import annotations

import secrets
import threading
import time
from types import TracebackType

from pressrun.cache.messages import Command, Event, Joined
from pressrun.cache.registry import Registry
from pressrun.cache.sources import Limits
from workers.cache.chunk_client import ChunkClient
from workers.cache.chunk_store import ChunkStore
from workers.cache.keeper import Keeper

_HOST = "this host"
_TICK_S = 1.0


class AloneKeeper:
    """A keeper whose registry knows nobody else; a context manager.

    Parameters
    ----------
    store : ChunkStore
        The host's folder.
    limits : Limits
        What may happen at once; by default more reads at once than a host of many would begin.
    """

    def __init__(self, store: ChunkStore, limits: Limits | None = None) -> None:
        limits = limits or Limits(origin_each=6, others_come_s=0.0)
        self._registry = Registry(limits)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        nobody = ChunkClient(secrets.token_bytes(32))
        self.keeper = Keeper(Joined(_HOST, "", ""), store, nobody, self._tell, limits.downloads)

    def __enter__(self) -> Keeper:
        """Begin to keep time, and hand out the keeper."""
        self.keeper.announce()
        threading.Thread(target=self._tick, name="cache-tick", daemon=True).start()
        return self.keeper

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the threads."""
        self._ended.set()
        self.keeper.close()

    def _tell(self, event: Event) -> None:
        with self._lock:
            self._registry.tell(event, time.monotonic())
        self._ask()

    def _ask(self) -> None:
        has_more = True
        while has_more:
            with self._lock:
                commands: list[Command] = self._registry.commands(time.monotonic())
                has_more = self._registry.has_more
            for command in commands:
                self.keeper.obey(command)

    def _tick(self) -> None:
        while not self._ended.wait(_TICK_S):
            self.keeper.beat()
            self._ask()


__all__ = ["AloneKeeper"]
