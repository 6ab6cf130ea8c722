"""The keeper of one host's cache: fetches the chunks that the registry names, checks them, and writes them to disk.

Knows nothing of Dask, nor of why a chunk comes from where it comes: it tells what happened and does what it is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace

from pressrun.cache.chunk_manifest import ChunkManifest
from pressrun.cache.messages import (
    ORIGIN,
    Abandoned,
    Alive,
    Command,
    Dropped,
    Event,
    Failed,
    Fault,
    Fetch,
    Got,
    Holds,
    Joined,
    Recheck,
    Unwanted,
)
from pressrun.cache.traffic_report import WireSource
from pressrun.errors import InvalidModel
from pressrun.location import Location
from workers.cache.bring import Bring, Brought, bring_of
from workers.cache.brings import Brings
from workers.cache.chunk_client import ChunkClient
from workers.cache.chunk_store import ChunkStore
from workers.cache.fetching import Fetched, Fetcher, FetchFailed
from workers.cache.held_chunks import ids_of
from workers.cache.metrics import cache_metrics
from workers.cache.origin import OriginFailed, open_origin
from workers.cache.origin_reads import OriginReads
from workers.cache.published import Editions
from workers.cache.turns import Turns

logger = logging.getLogger(__name__)


class Keeper:
    """One host's part in the cache; a process that holds the host's lock has one.

    Parameters
    ----------
    me : Joined
        The host, its zone and its chunk server's address, as peers see it.
    store : ChunkStore
        The host's folder.
    client : ChunkClient
        Fetches from peers.
    send : callable
        Takes news for the registry; must not wait.
    downloads : int
        Chunks under way at once; as many threads.
    """

    def __init__(
        self, me: Joined, store: ChunkStore, client: ChunkClient, send: Callable[[Event], None], downloads: int = 10
    ) -> None:
        self._me = me
        self._store = store
        self._fetcher = Fetcher(client)
        self._send = send
        self._threads = ThreadPoolExecutor(downloads, thread_name_prefix="cache-fetch")
        self._brings = Brings()
        self._turns = Turns()
        self._reads = OriginReads()
        self._looking: Future[None] | None = None
        self._known: Editions = frozenset()

    @property
    def waiting_chunks(self) -> int:
        """Chunks that are to come to this host."""
        return self._brings.waiting_chunks

    def announce(self, gives_only: bool = False) -> None:
        """Tell the registry that this host is there, what it holds, and, unless it only gives, what it waits for."""
        self._send(self._me)
        self._send(Holds(self._me.host, self._store.held()))
        for bring in () if gives_only else self._brings.all():
            self._send(bring.wants(self._me.host))

    def bring(
        self,
        location: Location | None,
        manifest: ChunkManifest,
        single_file: bool = False,
        timeout_s: float | None = None,
    ) -> Brought:
        """Make a revision lie whole on this host; returns at once if it does.

        Parameters
        ----------
        location : Location or None
            Where it comes from; None where only peers may be asked.
        manifest : ChunkManifest
            What it consists of.
        single_file : bool
            Whether the location may be a file itself.
        timeout_s : float or None
            How long to wait for whoever else fills it, and then for its chunks; None as long as it takes.

        Raises
        ------
        InvalidModel
            If a chunk cannot be had, or not in time, or the budget or the disk have no room.
        CacheInUse
            If somebody else is still filling it when the time is up.
        OriginFailed
            If the location cannot be opened.
        """
        with self._turns.turn(manifest.revision, timeout_s, lambda: self._lend(location, manifest, single_file)):
            folder = self._store.folder_of(manifest)
            if folder is not None:
                return Brought(folder)
            # It may take a while, in which other revisions bring what this one lacks too.
            origin = open_origin(location, single_file) if location else None
            with closing(self._store.begin(manifest, timeout_s)) as filling:
                bring = bring_of(filling, origin, str(location or ""))
                try:
                    self._begin(bring)
                    folder = bring.publish(timeout_s, lambda: self._send(bring.wants(self._me.host)))
                finally:
                    self._forget(bring)
                gone = bring.drop_doubtful()  # even of what is published: the word may have come meanwhile
                if gone:
                    self._send(Dropped(self._me.host, gone))
                if folder is None or gone:
                    name = location or f"of revision {manifest.revision}"
                    raise InvalidModel(f"The model {name} cannot be brought to {self._me.host}: {bring.problem}.")
                return Brought(folder, bring.origin_bytes)

    def obey(self, command: Command) -> None:
        """Do what the registry says; returns at once."""
        try:
            if isinstance(command, Fetch):
                self._order(command)
            elif isinstance(command, Recheck):
                self._threads.submit(self._recheck, command)
            else:
                self._give_up(command)
        except RuntimeError:  # closed meanwhile
            logger.debug("%s came after the keeper was closed", type(command).__name__)

    def beat(self) -> None:
        """Tell the registry which leases are alive; to be called a few times in a lease's time, returns at once."""
        if reading := self._reads.alive():
            self._send(Alive(self._me.host, reading))
        if self._looking is None or self._looking.done():
            with suppress(RuntimeError):  # closed meanwhile
                self._looking = self._threads.submit(self._look)

    def close(self) -> None:
        """Stop: whoever waits is told, what is on disk stays."""
        for bring in self._brings.all():
            bring.fail("the worker was closed")
        self._fetcher.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> None:
        """Tell the registry what other processes of this host brought or dropped since the last time."""
        try:
            known, self._known = self._known, self._store.editions()  # which has the store tell of what is gone
            if self._known != known:
                held = self._store.held()
                self._send(Holds(self._me.host, held))
                gone = held.keys() - self._store.held().keys()  # meanwhile, and perhaps told before these news
                self._send(Dropped(self._me.host, tuple(gone)))
                self._keep_held()
        except Exception:  # the next look may go well
            logger.exception("the cache folder could not be looked at")

    def _lend(self, location: Location | None, manifest: ChunkManifest, single_file: bool) -> None:
        """Give a bring of a revision that was begun from peers alone the origin that is known by now."""
        bring = self._brings.of(manifest.revision)
        if location and bring is not None and bring.origin is None:
            with suppress(InvalidModel, OriginFailed):  # it is tried again when it is the asker's turn
                bring.origin, bring.place = open_origin(location, single_file), str(location)

    def _begin(self, bring: Bring) -> None:
        self._brings.add(bring)
        bring.keep_held()  # what other brings got before they knew of this one; what they get now, it is given
        self._send(Holds(self._me.host, self._store.held()))
        wants = bring.wants(self._me.host)
        had_bytes = bring.filling.manifest.size_bytes - sum(chunk.size_bytes for chunk in wants.chunks)
        cache_metrics().held(had_bytes)
        self._send(replace(wants, had_bytes=had_bytes))

    def _forget(self, bring: Bring) -> None:
        self._take_back(self._brings.remove(bring))

    def _take_back(self, chunk_ids: tuple[str, ...]) -> None:
        self._send(Unwanted(self._me.host, chunk_ids))
        self._want_still(chunk_ids)

    def _want_still(self, chunk_ids: tuple[str, ...]) -> None:
        """Ask again for what a bring lacks, after news that took the wish back, perhaps while it was made."""
        for bring in self._brings.all():
            lacking = set(bring.lacking)
            if not lacking.isdisjoint(chunk_ids):
                self._send(bring.wants(self._me.host, lacking.intersection(chunk_ids)))

    def _order(self, order: Fetch) -> None:
        if order.source == ORIGIN and self._reads.hangs(order.chunk_id):
            self._fail(order, "origin", "its origin has not answered an earlier read of this host")
            return
        # From now on, not only once a thread is free: an order that waits is carried out too.
        read = self._reads.begin(order.chunk_id) if order.source == ORIGIN else 0
        self._threads.submit(self._fetch, order, read)

    def _fetch(self, order: Fetch, read: int) -> None:
        try:
            self._fetch_for(order, self._brings.waiting_for(order.chunk_id))
        except Exception as error:  # whatever it is, the registry must hear of it, or the flight stays open
            logger.warning("a chunk could not be fetched", exc_info=True)
            self._fail(order, "origin" if order.source == ORIGIN else "refused", f"{type(error).__name__}: {error}")
        finally:
            self._reads.end(read)

    def _fetch_for(self, order: Fetch, waiting: list[Bring]) -> None:
        for bring in waiting:
            bring.keep_held([order.chunk_id])  # another revision here may have it under another id
        waiting = self._brings.waiting_for(order.chunk_id)
        chunk = waiting[0].lacking.get(order.chunk_id) if waiting else None
        if chunk is None:
            self._fail(order, "unneeded")
            held = self._store.held()
            if order.chunk_id in held:  # it came while it was asked for
                self._send(Holds(self._me.host, {order.chunk_id: held[order.chunk_id]}))
            self._want_still((order.chunk_id,))
            return
        try:
            fetched = self._fetcher.fetch(order, chunk, waiting[0])
        except FetchFailed as error:
            self._fail(order, error.fault, error.reason)
            return
        if self._keep(order, fetched):  # peers and other brings may ask for it by another name
            others = ids_of(chunk, fetched.xxh3) - {order.chunk_id}
            self._send(Holds(self._me.host, dict.fromkeys(others, fetched.xxh3)))
            self._keep_held(others)

    def _keep(self, order: Fetch, came: Fetched) -> bool:
        kept = False
        while waiting := self._brings.waiting_for(order.chunk_id):  # again, as another one may begin to wait meanwhile
            if not all([bring.keep(order.chunk_id, came.data, came.xxh3) for bring in waiting]):
                self._fail(order, "disk")
                return False
            kept = True
        if not kept and self._store.find(order.chunk_id) is None:  # whoever waited for it gave up
            self._fail(order, "unneeded")
            self._want_still((order.chunk_id,))
            return False
        near: WireSource = "same_zone" if order.zone == self._me.zone else "other_zone"
        cache_metrics().received("origin" if order.source == ORIGIN else near, len(came.data), came.seconds)
        self._send(Got(self._me.host, order.chunk_id, order.source, came.seconds, came.xxh3))
        self._want_still((order.chunk_id,))
        return True

    def _keep_held(self, only: set[str] | None = None) -> None:
        for bring in self._brings.all():
            if came := bring.keep_held(only):
                self._take_back(came)

    def _recheck(self, order: Recheck) -> None:
        if not self._store.recheck(order.chunk_id):
            logger.warning("a chunk on this host is spoilt and was dropped")
            self._send(Dropped(self._me.host, (order.chunk_id,)))
        for bring in filter(Bring.lacks_again, self._brings.all()):
            self._send(bring.wants(self._me.host))

    def _give_up(self, command: Abandoned) -> None:
        brings = self._brings.all()
        for bring in brings:
            bring.give_up(command)
        others = [name for name in command.chunk_ids if not any(name in bring.filling.chunk_ids for bring in brings)]
        if others and command.are_doubtful:  # their revision may be published by now
            self._threads.submit(self._withdraw, others)

    def _withdraw(self, chunk_ids: list[str]) -> None:
        held = [chunk_id for chunk_id in chunk_ids if self._store.find(chunk_id) is not None]
        gone = tuple(chunk_id for chunk_id in held if not self._store.recheck(chunk_id, even_sound=True))
        if gone:
            self._send(Dropped(self._me.host, gone))

    def _fail(self, order: Fetch, fault: Fault, reason: str = "") -> None:
        cache_metrics().faulted(fault)
        self._send(Failed(self._me.host, order.chunk_id, order.source, fault, reason))


__all__ = ["Keeper"]
