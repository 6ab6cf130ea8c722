"""Every host's cache, grown for a release and shrunk after it.

Knows nothing of what a release checks, nor of how models are brought.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from distributed import Client

from pressrun.errors import CacheInUse, InvalidModel, StageFailed
from pressrun.processes import place_digest
from pressrun.release.release import HostCache
from pressrun.wording import size
from workers.cache.chunk_store import ChunkStore
from workers.cache.eviction import DiskUse
from workers.cache.folder_notes import note_budget, noted_budget
from workers.cache.store_state import StoreState, look
from workers.direct_calls import call_each

logger = logging.getLogger(__name__)


def grow(client: Client, root: str, revision: str, size_bytes: int) -> tuple[HostCache, ...]:
    """Make sure that every host has room for a revision beside all that its cache holds, its budget included.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    root : str
        The cache's folder on each host.
    revision : str
        What is going to be brought there.
    size_bytes : int
        Its size; 0 where it is used in place.

    Returns
    -------
    tuple of HostCache
        What each host holds before, for `shrink`.

    Raises
    ------
    StageFailed
        When a host's disk has too little room.
    InvalidModel
        When the revision is larger than a host's budget, so that no run could use it there.
    """
    looks = {address: (root, revision, size_bytes, address) for address in _places(client, root).values()}
    caches = tuple(call_each(client, _look, looks).values())  # before a change, which another try took for the budget
    call_each(client, _raise_budget, {cache.address: (root, cache) for cache in caches})
    return caches


def shrink(client: Client, root: str, caches: Sequence[HostCache], revision: str, is_kept: bool) -> int:
    """Bring every host's cache back to what it may hold, and return the bytes that were freed.

    Where no budget is set nothing but a revision that is not kept goes.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    root : str
        The cache's folder on each host.
    caches : sequence of HostCache
        From `grow`.
    revision : str
        What was brought there.
    is_kept : bool
        Whether it stays, at the cost of the least recently used revisions; else it goes, unless it was there before.
    """
    there = still_there(client, root, caches)
    asked = {address: (root, cache, revision, is_kept) for address, cache in there.items()}
    return sum(call_each(client, _give_back, asked).values())


def still_there(client: Client, root: str, caches: Iterable[HostCache]) -> dict[str, HostCache]:
    """Return the hosts that have not gone since, each by the address of a worker that is there now."""
    now = _places(client, root)
    there = {now[cache.place]: cache for cache in caches if cache.place in now}
    for gone in {cache.address for cache in caches if cache.place not in now}:
        logger.warning("the host of the worker %s is gone; its cache stays as it is", gone)
    return there


def _places(client: Client, root: str) -> dict[str, str]:
    """Return a worker's address by the place that it shares with its host's others."""
    return {place: address for address, place in client.run(_place, root).items()}


def _place(root: str) -> str:
    """Return a name for a worker's cache folder that workers of one host share; called on it."""
    return f"{place_digest()} {Path(root).expanduser()}"


def _look(root: str, revision: str, size_bytes: int, address: str) -> HostCache:
    folder = Path(root).expanduser()
    state = look(folder, noted_budget(folder))
    if state.budget_bytes is not None and size_bytes > state.budget_bytes:
        raise InvalidModel(
            f"The model has {size(size_bytes)}, but the cache of {address.rpartition(':')[0]} may hold "
            f"{size(state.budget_bytes)}; raise the cache's budget or use a smaller model."
        )
    found = next((one for one in state.revisions if one.revision == revision), None)
    had_revision = found is not None and found.is_complete
    # A filling that was cut short has taken its files' whole room already.
    needed_bytes = 0 if had_revision else max(0, size_bytes - (found.size_bytes if found else 0))
    standing = next(place for place in (folder, *folder.parents) if place.exists())
    free_bytes = shutil.disk_usage(standing).free
    if free_bytes < needed_bytes:
        raise StageFailed(
            f"The disk of {address.rpartition(':')[0]} has {free_bytes / 1e9:.3f} GB free at {root}, the model needs "
            f"{needed_bytes / 1e9:.3f} GB more; free some, or drop models from the cache, where "
            f"{size(_idle_bytes(state, revision))} are of models that nobody uses now."
        )
    return HostCache(address, state.size_bytes, had_revision, state.budget_bytes, _place(root), needed_bytes)


def _idle_bytes(state: StoreState, revision: str) -> int:
    """Return what would be free without the other revisions that nobody uses or fills."""
    use = DiskUse(state.root)
    idle = {one.revision for one in state.revisions if not (one.is_pinned or one.is_filling)}
    return use.total_bytes - use.without(idle - {revision})


def _raise_budget(root: str, cache: HostCache) -> None:
    grown_bytes = cache.held_bytes + cache.needed_bytes
    if cache.budget_bytes is not None and cache.budget_bytes < grown_bytes:
        note_budget(Path(root).expanduser(), grown_bytes)


def _give_back(root: str, cache: HostCache, revision: str, is_kept: bool) -> int:
    folder = Path(root).expanduser()
    before_bytes = look(folder, None).size_bytes
    if not before_bytes:
        return 0
    note_budget(folder, cache.budget_bytes)
    store = ChunkStore(folder)
    if not is_kept and not cache.had_revision:
        with suppress(CacheInUse):  # a run has begun to draw with it
            store.drop(revision)
    if cache.budget_bytes is not None:
        with store.pin(revision) if is_kept else nullcontext():
            store.shrink_to(cache.budget_bytes)
    return max(0, before_bytes - look(folder, None).size_bytes)
