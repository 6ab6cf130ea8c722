"""What the hosts of a cache do at somebody's word: shrink, drop, and take over what a host that leaves has alone.

Knows nothing of why. Each is done in the process that keeps the host's cache, whose peers then know of it at once, in a
thread, as Dask calls it beside the tasks on the worker's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from distributed import Client

from pressrun.cache.chunk_manifest import ChunkManifest
from pressrun.errors import CacheInUse, PressrunError
from pressrun.wording import size
from workers.cache.folder_notes import forget_model
from workers.cache.links import Link, link_for

_GRACE_S = 5.0
_POLL_S = 0.1

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """A worker's host, as the worker sees it.

    Parameters
    ----------
    host : str
        Its name in the cache.
    is_keeper : bool
        Whether this worker keeps the host's part.
    whole : mapping of str to int
        Sizes of its whole revisions.
    room_bytes : int
        What it may take without dropping anything.
    """

    host: str
    is_keeper: bool
    whole: Mapping[str, int]
    room_bytes: int


def standings(client: Client, folder: str) -> dict[str, Standing]:
    """Return what each worker that shares the cache says of its host, by address."""
    found = client.run(standing_here, folder, on_error="ignore")
    return {worker: standing for worker, standing in found.items() if standing is not None}


def one_a_host(standings: Mapping[str, Standing]) -> dict[str, str]:
    """Return a worker for each host, by the host's name: the one that keeps its part, if there is one yet."""
    in_order = sorted(standings.items(), key=lambda item: item[1].is_keeper)
    return {standing.host: worker for worker, standing in in_order}


def shrink_to(client: Client, folder: str, size_bytes: int) -> dict[str, int]:
    """Have every host drop the bytes of what was used longest ago, and return how many are left, by host."""
    workers = one_a_host(standings(client, folder))
    left = client.run(_shrink_to, folder, size_bytes, workers=list(workers.values()))
    return {host: left[worker] for host, worker in workers.items()}


def drop(client: Client, folder: str, revision: str) -> dict[str, str]:
    """Have every host drop a revision, and return by host why it is still there; "" where it is gone."""
    workers = one_a_host(standings(client, folder))
    said = client.run(_drop, folder, revision, workers=list(workers.values()))
    return {host: said[worker] for host, worker in workers.items()}


def drain(client: Client, folder: str, leaving: Collection[str], timeout_s: float) -> dict[str, str]:
    """Have hosts that stay take over the revisions that only hosts which leave have whole.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    folder : str
        The cache's folder on each host.
    leaving : collection of str
        Addresses of the workers that are going to leave; a host leaves with the last of its workers.
    timeout_s : float
        How long it may take in all.

    Returns
    -------
    dict of str to str
        By revision, why it could not be handed over; "" where it was.
    """
    until_s = time.monotonic() + timeout_s
    standing = _settled(client, folder)
    room = rooms(standing, leaving)
    problems: dict[str, str] = {}
    for revision, giver in sole(standing, leaving).items():
        taker = max(room, key=lambda worker: room[worker], default=None)
        left_s = until_s - time.monotonic()
        size_bytes = standing[giver].whole[revision]
        # What would be evicted for it there may be an only copy too.
        problem = "" if taker is None else too_large(revision, size_bytes, room[taker])
        problems[revision] = problem or _hand_over(client, folder, revision, _Way(giver, taker, left_s))
        if problems[revision]:
            logger.warning("%s leaves with the only copy of a model: %s", standing[giver].host, problems[revision])
        elif taker is not None:
            room[taker] -= size_bytes
    return problems


def rooms(standings: Mapping[str, Standing], leaving: Collection[str]) -> dict[str, int]:
    """Return the room of the hosts that stay, by the worker that keeps their part.

    What another host that stays has as well counts as room: caches are full most of the time, and it can go.
    """
    staying = _staying(standings, leaving)
    kept = {worker: one for worker, one in standings.items() if one.is_keeper and one.host in staying}
    copies = Counter(revision for one in kept.values() for revision in one.whole)
    return {
        worker: one.room_bytes + sum(size_bytes for revision, size_bytes in one.whole.items() if copies[revision] > 1)
        for worker, one in kept.items()
    }


def too_large(revision: str, size_bytes: int, room_bytes: int) -> str:
    """Return why a revision cannot go to a host with so much room, or ""."""
    if size_bytes <= room_bytes:
        return ""
    return (
        f"The revision {revision} has {size(size_bytes)}, but no host that stays may hold more than "
        f"{size(max(0, room_bytes))} beside what it alone has; drop models there, raise the cache's budget or add "
        "a host."
    )


def sole(standings: Mapping[str, Standing], leaving: Collection[str]) -> dict[str, str]:
    """Return the revisions that no host which stays has whole, each with a worker whose host has it."""
    staying = _staying(standings, leaving)
    safe = {revision for one in standings.values() if one.host in staying for revision in one.whole}
    return {revision: worker for worker, one in standings.items() for revision in one.whole if revision not in safe}


def _staying(standings: Mapping[str, Standing], leaving: Collection[str]) -> set[str]:
    return {one.host for worker, one in standings.items() if worker not in leaving}


def _settled(client: Client, folder: str) -> dict[str, Standing]:
    """Return the workers' standings once every host has its keeper, as it has a moment after its workers joined."""
    patience_s = time.monotonic() + _GRACE_S
    while True:
        standing = standings(client, folder)
        kept = {one.host for one in standing.values() if one.is_keeper}
        if kept == {one.host for one in standing.values()} or time.monotonic() > patience_s:
            return standing
        time.sleep(_POLL_S)


@dataclass(frozen=True, slots=True)
class _Way:
    """From which worker to which one's host, and in which time."""

    giver: str
    taker: str | None
    timeout_s: float


def _hand_over(client: Client, folder: str, revision: str, way: _Way) -> str:
    if way.taker is None:
        return f"No host stays that could take over the revision {revision}."
    if way.timeout_s <= 0:
        return f"No time was left to hand over the revision {revision}."
    manifest = client.run(_manifest, folder, revision, workers=[way.giver], on_error="return")[way.giver]
    if not isinstance(manifest, ChunkManifest):
        return f"The revision {revision} was gone from its host before it could be handed over."
    said = client.run(take_over, folder, manifest, way.timeout_s, workers=[way.taker], on_error="return")[way.taker]
    return said if isinstance(said, str) else f"The host that was to take over the revision {revision} failed: {said}."


def _link(folder: str) -> Link | None:
    return link_for(Path(folder).expanduser())


async def standing_here(folder: str) -> Standing | None:
    """Return what the worker that this is called on says of its host, None if it does not share the cache."""
    link = _link(folder)
    return None if link is None else await asyncio.to_thread(look, link)


def look(link: Link) -> Standing:
    """Return how things stand on a link's host."""
    state = link.store.status()
    free_bytes = shutil.disk_usage(link.store.root).free
    if state.budget_bytes is not None:
        free_bytes = min(free_bytes, state.budget_bytes - state.size_bytes)
    whole = {one.revision: one.size_bytes for one in state.revisions if one.is_complete}
    return Standing(link.host, link.is_keeper, whole, free_bytes)


async def _shrink_to(folder: str, size_bytes: int) -> int:
    link = _link(folder)
    return 0 if link is None else await asyncio.to_thread(link.store.shrink_to, size_bytes)


async def _drop(folder: str, revision: str) -> str:
    link = _link(folder)
    if link is None:
        return ""
    try:
        await asyncio.to_thread(link.store.drop, revision)
    except (CacheInUse, OSError) as error:
        return str(error)
    forget_model(link.store.root, revision)
    return ""


async def _manifest(folder: str, revision: str) -> ChunkManifest | None:
    link = _link(folder)
    return None if link is None else await asyncio.to_thread(link.store.manifest_of, revision)


async def take_over(folder: str, manifest: ChunkManifest, timeout_s: float) -> str:
    """Bring a revision from peers to the host of the worker that this is called on, and return why it cannot, or ""."""
    link = _link(folder)
    if link is None:
        return "The worker that was to take it over does not share the cache any more."
    try:
        await asyncio.wait_for(asyncio.to_thread(link.take_over, manifest, timeout_s), timeout_s + _GRACE_S)
    except PressrunError as error:
        return str(error)
    except TimeoutError:
        return f"The revision {manifest.revision} could not be handed over within {timeout_s:.0f} s."
    return ""


__all__ = [
    "Standing",
    "drain",
    "drop",
    "look",
    "one_a_host",
    "rooms",
    "shrink_to",
    "sole",
    "standing_here",
    "standings",
    "take_over",
    "too_large",
]
