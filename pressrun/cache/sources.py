"""Where a host gets its next chunk from: from a peer of its zone, from one elsewhere, or by a lease from the origin.

Rules, in their order. The origin is read where nobody holds a chunk and nobody else reads it; each host keeps such
reads going, as the origin's link is the one that all wait for. Else the rarest chunk first, those under way counted,
from the least busy holder. Over a zone's border a chunk travels once: while one host of a zone fetches it, the others
wait for that copy.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from itertools import chain, islice

from pressrun.cache.host_state import HostState
from pressrun.cache.messages import ORIGIN
from pressrun.cache.swarm import Swarm, at_origin

_LOOKED_AT = 32  # of the oldest and of the newest chunks that are to be had; all of them would cost the scheduler time


@dataclass(frozen=True, slots=True)
class Limits:
    """How much happens at once, and how long anybody waits.

    Parameters
    ----------
    origin_each, origin_least, origin_all : int
        Reads from the origin at once: of every host; in all at least, where there are too few hosts to make as many of
        them; in all at most. In between, as many as do not take longer for it.
    downloads, uploads : int
        Chunks under way at once to one host, the origin's among them, and from one host. Of few, some always come from
        a peer that is busy, and a link stands partly idle; each takes memory for a chunk at its receiver.
    lease_s : float
        How long an origin read counts as alive without a sign of life.
    first_timeout_s, least_timeout_s : float
        Time for a chunk from a peer before any speed is known, and at least.
    least_stall_s : float
        How long at least nothing at all may come of a chunk; twice the expected time of a slow one, and never longer
        than `least_timeout_s`, which is also the time before any speed is known.
    slack : float
        Time for a chunk from a peer, in multiples of what is expected.
    busy_s, ban_s, corrupt_ban_s : float
        How long a host keeps away from a peer that has no upload to spare; from a source that failed it once, doubled
        each time; and after spoilt bytes.
    attempts : int
        Reads of one chunk from the origin that may fail, each after its own retries, while the origin gives others,
        before the chunk is given up.
    unreached_ban_s : float
        How long a host keeps away from a place of the origin that did not answer it, where others may read there.
    denied_s, others_come_s : float
        How long a host that a place of the origin denied does not ask it; and for how long others, who may be let in,
        are waited for before what is denied to all is given up.
    origin_faults, origin_patience_s : int, float
        Reads in a row that may fail, of any host and chunk, and for how long, before all that only the origin has is
        given up.
    """

    origin_each: int = 1
    origin_least: int = 8
    origin_all: int = 64
    downloads: int = 10
    uploads: int = 12
    lease_s: float = 12.0
    first_timeout_s: float = 60.0
    least_timeout_s: float = 10.0
    least_stall_s: float = 3.0
    slack: float = 6.0
    busy_s: float = 0.2
    ban_s: float = 2.0
    corrupt_ban_s: float = 60.0
    attempts: int = 3
    unreached_ban_s: float = 30.0
    denied_s: float = 300.0
    others_come_s: float = 3.0
    origin_faults: int = 5
    origin_patience_s: float = 300.0


Vain = set[tuple[str, str]]  # zones, and chunks that nobody there can get for now


@dataclass(frozen=True, slots=True)
class Choice:
    """What a host should fetch next, and where."""

    chunk_id: str
    source: str


def choose(swarm: Swarm, host: HostState, limits: Limits, now_s: float, vain: Vain) -> Choice | None:
    """Return the next chunk for a host and its source, or None where it has to wait or has all.

    Parameters
    ----------
    swarm : Swarm
        Who holds, wants and fetches what.
    host : HostState
        Whose turn it is.
    limits : Limits
        What may happen at once.
    now_s : float
        The time, for bans.
    vain : set
        What was looked for in vain by hosts of a zone that ban nobody, since anything but flights began; added to.
    """
    if not host.wants or len(host.flights) >= limits.downloads:
        return None
    for place, unread in swarm.unread.items():
        if host.places[place] and may_read_origin(swarm, host, place, limits, now_s):
            seen = islice(unread, None if host.suspect_until_s <= now_s else _LOOKED_AT)
            first = next((chunk_id for chunk_id in seen if _may_be_first(swarm, host, chunk_id, now_s)), None)
            if first is not None:
                return Choice(first, ORIGIN)
    looked_at = dict.fromkeys(chain(islice(host.ready, _LOOKED_AT), islice(reversed(host.ready), _LOOKED_AT)))
    is_like_others = not host.banned(now_s)
    if is_like_others:
        looked_at = {chunk_id: None for chunk_id in looked_at if (host.zone, chunk_id) not in vain}
    for chunk_id in sorted(looked_at, key=lambda chunk_id: _rarity(swarm, host, chunk_id)):
        source = peer_for(swarm, host, chunk_id, limits, now_s)
        if source is None and _is_deserted(swarm, host, chunk_id, now_s):
            source = ORIGIN if may_read_origin(swarm, host, swarm.place_of(chunk_id), limits, now_s) else None
        if source is not None:
            return Choice(chunk_id, source)
        if is_like_others and chunk_id not in host.held:
            vain.add((host.zone, chunk_id))
    return None


def peer_for(swarm: Swarm, host: HostState, chunk_id: str, limits: Limits, now_s: float) -> str | None:
    """Return the least busy holder from which a host may fetch a chunk now, or None."""
    usable = swarm.holders(chunk_id).difference(host.banned(now_s), (host.name,))
    near = usable & swarm.by_zone[host.zone]
    if not near and any(_is_near(swarm, host, flight.host) for flight in swarm.flying(chunk_id)):
        return None  # a copy comes into the zone already
    used = {source for fetched, source in host.flights if fetched == chunk_id}
    for uploads in range(limits.uploads):
        if free := (near or usable) & swarm.by_uploads[uploads] - used:
            start = _shuffled(host.name, chunk_id)
            return min(free, key=lambda name: zlib.crc32(name.encode(), start))
    return None


def may_read_origin(swarm: Swarm, host: HostState, place: str, limits: Limits, now_s: float) -> bool:
    """Return whether a host may begin another read from one place of the origin; each has its own pace and faults."""
    denied = swarm.denials.of(place)
    waiting, learnt = max(1, len(swarm.waiting) - len(denied)), int(swarm.paces[place].reads)
    fitting = min(limits.origin_all, max(limits.origin_least, limits.origin_each * waiting, learnt))
    return (
        host.name not in denied
        and is_usable(host, at_origin(place), now_s)
        and host.origin_reads(place) < math.ceil(fitting / waiting)
        and swarm.reads[place] < fitting
    )


def is_usable(host: HostState, source: str, now_s: float) -> bool:
    """Return whether a source is another than the host itself and not banned by it."""
    ban = host.bans.get(source)
    return source != host.name and (ban is None or ban.until_s <= now_s)


def _may_be_first(swarm: Swarm, host: HostState, chunk_id: str, now_s: float) -> bool:
    """Return whether a host lacks a chunk, and is not suspected while others, who may read it, lack it too."""
    if chunk_id not in host.wants or host.suspect_until_s <= now_s:
        return chunk_id in host.wants
    denied = swarm.denials.of(swarm.place_of(chunk_id))
    return all(name in denied or swarm.hosts[name].suspect_until_s > now_s for name in swarm.wanting(chunk_id))


def _is_deserted(swarm: Swarm, host: HostState, chunk_id: str, now_s: float) -> bool:
    """Return whether no holder serves this host, none is under way to another, and no better host may read it."""
    if any(is_usable(host, name, now_s) for name in swarm.holders(chunk_id)):
        return False
    if not _may_be_first(swarm, host, chunk_id, now_s):
        return False
    return next(swarm.flying(chunk_id), None) is None


def _is_near(swarm: Swarm, host: HostState, name: str) -> bool:
    return name != host.name and swarm.hosts[name].zone == host.zone


def _rarity(swarm: Swarm, host: HostState, chunk_id: str) -> tuple[int, int]:
    return swarm.copies(chunk_id), _shuffled(host.name, chunk_id)


def _shuffled(*names: str) -> int:
    """Return a number that orders things differently for every host, and the same way at every call."""
    return zlib.crc32("\0".join(names).encode())


__all__ = ["Choice", "Limits", "choose", "is_usable", "may_read_origin", "peer_for"]
