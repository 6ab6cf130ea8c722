"""Who holds, wants and fetches which chunk: the registry's memory, kept consistent by its own methods.

Knows nothing of who ought to fetch what from where.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from pressrun.cache.messages import ORIGIN, WantedChunk
from pressrun.cache.origin_pace import OriginPace


@dataclass(slots=True)
class Flight:
    """One chunk on its way to one host; where it comes from the origin, this is the lease.

    Parameters
    ----------
    chunk_id : str
        The chunk.
    host : str
        Who gets it.
    source : str
        The host it comes from, or `ORIGIN`.
    began_s : float
        When it was sent for.
    ends_s : float
        When it counts as lost, if nothing is heard.
    place : str
        Where the origin has it, if it comes from there.
    """

    chunk_id: str
    host: str
    source: str
    began_s: float
    ends_s: float
    place: str = ""


@dataclass(slots=True)
class Ban:
    """Until when a host keeps away from a source, and how often in a row that came to be."""

    until_s: float = 0.0
    strikes: int = 0

    def strike(self, now_s: float, first_s: float) -> None:
        """Keep away once more, longer each time."""
        if self.until_s > now_s:  # what was under way at once fails at once, and says no more than one of it
            self.until_s = max(self.until_s, now_s + first_s)
            return
        self.until_s = now_s + first_s * 2**self.strikes
        self.strikes = min(self.strikes + 1, 5)


@dataclass(slots=True)
class HostState:
    """What is known of one host.

    Parameters
    ----------
    name, zone, address : str
        As it joined.
    held : set of str
        Chunks it serves.
    wants : dict
        Chunks it lacks, by id, in its order.
    ready : dict
        Ids of those that another host holds and that are not under way to it, oldest first; values mean nothing.
    flights : dict
        What is under way to it, by chunk and source.
    uploads : int
        Chunks under way from it.
    bans : dict
        Sources that failed it, places of the origin by `at_origin`.
    suspect_until_s : float
        Until when it reads nothing from the origin for others, as spoilt bytes came from it.
    """

    name: str
    zone: str
    address: str
    held: set[str] = field(default_factory=set)
    wants: dict[str, WantedChunk] = field(default_factory=dict)
    ready: dict[str, None] = field(default_factory=dict)
    flights: dict[tuple[str, str], Flight] = field(default_factory=dict)
    uploads: int = 0
    bans: dict[str, Ban] = field(default_factory=dict)
    suspect_until_s: float = 0.0

    def ban(self, source: str) -> Ban:
        """Return what keeps it from a source, at first nothing."""
        return self.bans.setdefault(source, Ban())

    def origin_reads(self, place: str) -> int:
        """Return how many chunks are under way to it from one place of the origin."""
        return sum(flight.source == ORIGIN and flight.place == place for flight in self.flights.values())


class Swarm:
    """Hosts, and their chunks by holder, by wish and under way."""

    def __init__(self) -> None:
        self.hosts: dict[str, HostState] = {}
        self.waiting: set[str] = set()  # names of hosts that lack something
        self.leases: dict[str, Flight] = {}
        self.paces: defaultdict[str, OriginPace] = defaultdict(OriginPace)  # by place
        self.reads: Counter[str] = Counter()  # leases by place
        # By place, wanted by somebody, held by nobody and leased to nobody: what only the origin can give; what was
        # tried in vain comes first. Values mean nothing.
        self.unread: dict[str, OrderedDict[str, None]] = {}
        self._places: dict[str, str] = {}  # of what somebody wants, as the first one said
        # Chunks whose first holder came or whose last one went, of which those who want them do not know yet.
        self._unsettled: OrderedDict[str, None] = OrderedDict()
        self._doubtful: set[str] = set()  # chunks that nobody may hold, want nor fetch any more
        self._holders: dict[str, set[str]] = {}
        self._wanting: dict[str, set[str]] = {}
        self._flying: dict[str, dict[tuple[str, str], Flight]] = {}

    def add(self, host: HostState) -> None:
        """Take a host in; one of that name must have been removed before."""
        self.hosts[host.name] = host

    def remove(self, name: str) -> None:
        """Forget a host with all it held, wanted and fetched; nothing happens if there is none."""
        host = self.hosts.get(name)
        if host is None:
            return
        for flight in list(host.flights.values()):
            self.end(flight)
        for chunk_id in list(host.wants):
            self.unwant(host, chunk_id)
        for chunk_id in list(host.held):
            self.drop(host, chunk_id)
        del self.hosts[name]
        for flights in list(self._flying.values()):
            for flight in [flight for flight in flights.values() if flight.source == name]:
                self.end(flight)

    def hold(self, host: HostState, chunk_id: str) -> None:
        """Note that a host has a chunk, for others; it may still want it, for a revision that does not have it yet."""
        host.held.add(chunk_id)
        if chunk_id not in self._holders:
            self._unsettled[chunk_id] = None
        self._holders.setdefault(chunk_id, set()).add(host.name)
        self._set_unread(chunk_id)

    def settle(self, most: int) -> None:
        """Have hosts know what is to be had since, and what is so no more; stops after about so many of their wishes."""
        while self._unsettled and most > 0:
            chunk_id, _ = self._unsettled.popitem(last=False)
            names = self.wanting(chunk_id)
            most -= 1 + len(names)
            for name in names:
                self.hosts[name].ready.pop(chunk_id, None)
                self._set_ready(self.hosts[name], chunk_id)

    def drop(self, host: HostState, chunk_id: str) -> None:
        """Note that a host has a chunk no more."""
        host.held.discard(chunk_id)
        holders = self._holders.get(chunk_id, set())
        holders.discard(host.name)
        if not holders:
            self._holders.pop(chunk_id, None)
            self._doubtful.add(chunk_id)
            self._unsettled[chunk_id] = None
            self._set_unread(chunk_id)

    def want(self, host: HostState, chunk: WantedChunk, place: str = "") -> None:
        """Note that a host lacks a chunk; others may still have it from there, if it was known to be there."""
        self._places.setdefault(chunk.chunk_id, place)
        host.wants[chunk.chunk_id] = chunk
        self.waiting.add(host.name)
        self._wanting.setdefault(chunk.chunk_id, set()).add(host.name)
        self._set_ready(host, chunk.chunk_id)
        self._set_unread(chunk.chunk_id)

    def unwant(self, host: HostState, chunk_id: str) -> None:
        """Note that a host does not look for a chunk any more."""
        host.wants.pop(chunk_id, None)
        host.ready.pop(chunk_id, None)
        if not host.wants:
            self.waiting.discard(host.name)
        wanting = self._wanting.get(chunk_id, set())
        wanting.discard(host.name)
        if not wanting:
            self._wanting.pop(chunk_id, None)
            self._doubtful.add(chunk_id)
            self._set_unread(chunk_id)
            self._places.pop(chunk_id, None)

    def begin(self, flight: Flight) -> None:
        """Note that a host is sent for a chunk."""
        host = self.hosts[flight.host]
        key = (flight.chunk_id, flight.source)
        host.flights[key] = flight
        host.ready.pop(flight.chunk_id, None)
        self._flying.setdefault(flight.chunk_id, {})[flight.host, flight.source] = flight
        if flight.source == ORIGIN:
            self.leases[flight.chunk_id] = flight
            self.reads[flight.place] += 1
            self._set_unread(flight.chunk_id)
        elif flight.source in self.hosts:
            self.hosts[flight.source].uploads += 1

    def end(self, flight: Flight) -> None:
        """Note that a flight is over, however it went."""
        host = self.hosts[flight.host]
        if host.flights.pop((flight.chunk_id, flight.source), None) is None:
            return
        flying = self._flying[flight.chunk_id]
        del flying[flight.host, flight.source]
        if not flying:
            del self._flying[flight.chunk_id]
            self._doubtful.add(flight.chunk_id)
        if flight.source == ORIGIN:
            del self.leases[flight.chunk_id]
            self.reads[flight.place] -= 1
            self._set_unread(flight.chunk_id, first=True)
        elif flight.source in self.hosts:
            self.hosts[flight.source].uploads -= 1
        self._set_ready(host, flight.chunk_id)

    def delay(self, seconds: float) -> None:
        """Have everything that is under way begin and end so much later."""
        for flight in self.all_flights():
            flight.began_s += seconds
            flight.ends_s += seconds

    def take_forgotten(self) -> list[str]:
        """Return the chunks that nobody holds, wants or fetches any more, each once."""
        doubtful, self._doubtful = self._doubtful, set()
        known = (self._holders, self._wanting, self._flying)
        return [chunk_id for chunk_id in doubtful if not any(chunk_id in chunks for chunks in known)]

    @property
    def is_settled(self) -> bool:
        """Whether every host knows what is to be had."""
        return not self._unsettled

    def holders(self, chunk_id: str) -> set[str]:
        """Return the names of the hosts that have a chunk."""
        return self._holders.get(chunk_id, set())

    def has_giver(self, name: str, chunk_id: str) -> bool:
        """Return whether another host than this one has a chunk."""
        holders = self.holders(chunk_id)
        return len(holders) > (name in holders)

    def wanting(self, chunk_id: str) -> set[str]:
        """Return the names of the hosts that lack a chunk."""
        return self._wanting.get(chunk_id, set())

    def only_at(self, place: str, name: str) -> tuple[str, ...]:
        """Return what a host lacks that nobody else has and that it would read at one place of the origin."""
        wants = self.hosts[name].wants if name in self.hosts else ()
        return tuple(
            chunk_id for chunk_id in wants if self._places[chunk_id] == place and not self.has_giver(name, chunk_id)
        )

    def place_of(self, chunk_id: str) -> str:
        """Return where at the origin a chunk lies that somebody lacks."""
        return self._places.get(chunk_id, "")

    def flying(self, chunk_id: str) -> Iterator[Flight]:
        """Yield what is under way of a chunk, to any host."""
        yield from self._flying.get(chunk_id, {}).values()

    def copies(self, chunk_id: str) -> int:
        """Return how many hosts have a chunk or are getting it."""
        return len(self._holders.get(chunk_id, ())) + len(self._flying.get(chunk_id, ()))

    def all_flights(self) -> list[Flight]:
        """Return everything that is under way."""
        return [flight for flights in self._flying.values() for flight in flights.values()]

    def _set_ready(self, host: HostState, chunk_id: str) -> None:
        under_way = any(fetched == chunk_id for fetched, _ in host.flights)
        if chunk_id in host.wants and not under_way and self._holders.get(chunk_id):
            host.ready[chunk_id] = None

    def _set_unread(self, chunk_id: str, first: bool = False) -> None:
        place = self.place_of(chunk_id)
        if self._wanting.get(chunk_id) and not self._holders.get(chunk_id) and chunk_id not in self.leases:
            unread = self.unread.setdefault(place, OrderedDict())
            unread[chunk_id] = None
            if first:
                unread.move_to_end(chunk_id, last=False)
        elif unread := self.unread.get(place, OrderedDict()):
            unread.pop(chunk_id, None)
            if not unread:
                del self.unread[place]


def at_origin(place: str) -> str:
    """Return what a place of the origin is called among sources, of which the others are hosts."""
    return f"{ORIGIN}\0{place}"


__all__ = ["Ban", "Flight", "HostState", "Swarm", "at_origin"]
