"""Who holds, wants and fetches which chunk: the registry's memory, kept consistent by its own methods.

Knows nothing of who ought to fetch what from where.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator

from pressrun.cache.denials import Denials
from pressrun.cache.host_state import Flight, HostState
from pressrun.cache.messages import ORIGIN
from pressrun.cache.origin_pace import OriginPace


class Swarm:
    """Hosts, and their chunks by holder, by wish and under way."""

    def __init__(self) -> None:
        self.hosts: dict[str, HostState] = {}
        self.by_zone: defaultdict[str, set[str]] = defaultdict(set)
        self.by_uploads: defaultdict[int, set[str]] = defaultdict(set)  # those that have anything, by what they send
        self.waiting: set[str] = set()  # names of hosts that lack something
        self.leases: dict[str, Flight] = {}
        self.paces: defaultdict[str, OriginPace] = defaultdict(OriginPace)  # by place
        self.reads: Counter[str] = Counter()  # leases by place
        self.denials = Denials()  # of hosts that lack something there
        # By place, wanted by somebody, held by nobody and leased to nobody: what only the origin can give; what was
        # tried in vain comes first. Values mean nothing.
        self.unread: dict[str, OrderedDict[str, None]] = {}
        self._places: dict[str, str] = {}  # of what somebody wants, as the first one said
        # Chunks whose first holder came or whose last one went, of which those who want them do not know yet.
        self._unsettled: OrderedDict[str, None] = OrderedDict()
        self._ids: dict[str, str] = {}  # one of each for all hosts: every message brings its own
        self._doubtful: set[str] = set()  # chunks that nobody may hold, want nor fetch any more
        self._holders: dict[str, set[str]] = {}
        self._wanting: dict[str, set[str]] = {}
        self._flying: dict[str, dict[tuple[str, str], Flight]] = {}

    def add(self, host: HostState) -> None:
        """Take a host in; one of that name must have been removed before."""
        self.hosts[host.name] = host
        self.by_zone[host.zone].add(host.name)

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
        self.by_zone[host.zone].discard(name)
        for other in self.hosts.values():
            other.bans.pop(name, None)
        for flights in list(self._flying.values()):
            for flight in [flight for flight in flights.values() if flight.source == name]:
                self.end(flight)

    def hold(self, host: HostState, chunk_id: str) -> None:
        """Note that a host has a chunk, for others; it may still want it, for a revision that does not have it yet."""
        chunk_id = self._ids.setdefault(chunk_id, chunk_id)
        host.held.add(chunk_id)
        self.by_uploads[host.uploads].add(host.name)
        if chunk_id not in self._holders:
            self._unsettled[chunk_id] = None
        self._holders.setdefault(chunk_id, set()).add(host.name)
        self._set_unread(chunk_id)

    def settle(self, most: int) -> None:
        """Have hosts know what is to be had by now, and what is not; stops after about so many of their wishes."""
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
        if not host.held:
            self.by_uploads[host.uploads].discard(host.name)
        holders = self._holders.get(chunk_id, set())
        holders.discard(host.name)
        if not holders:
            self._holders.pop(chunk_id, None)
            self._doubtful.add(chunk_id)
            self._unsettled[chunk_id] = None
            self._set_unread(chunk_id)

    def want(self, host: HostState, chunk_id: str, place: str = "") -> None:
        """Note that a host lacks a chunk; others may still have it from there, if it was known to be there."""
        chunk_id = self._ids.setdefault(chunk_id, chunk_id)
        place = self._places.setdefault(chunk_id, place)
        if chunk_id not in host.wants:
            host.wants[chunk_id] = None
            host.places[place] += 1
        self.waiting.add(host.name)
        self._wanting.setdefault(chunk_id, set()).add(host.name)
        self._set_ready(host, chunk_id)
        self._set_unread(chunk_id)

    def unwant(self, host: HostState, chunk_id: str) -> None:
        """Note that a host does not look for a chunk any more."""
        if chunk_id in host.wants:
            place = self.place_of(chunk_id)
            host.places[place] -= 1
            if not host.places[place]:
                self.denials.lift(place, host.name)
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
            self._set_uploads(self.hosts[flight.source], 1)

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
            self._set_uploads(self.hosts[flight.source], -1)
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
        forgotten = [chunk_id for chunk_id in doubtful if not any(chunk_id in chunks for chunks in known)]
        for chunk_id in forgotten:
            self._ids.pop(chunk_id, None)
        return forgotten

    @property
    def is_settled(self) -> bool:
        """Whether every host knows what is to be had."""
        return not self._unsettled

    def free_hosts(self, downloads: int) -> list[HostState]:
        """Return the hosts that lack something and to which less is under way, those with the least first."""
        free = [self.hosts[name] for name in self.waiting if len(self.hosts[name].flights) < downloads]
        return sorted(free, key=lambda host: (len(host.flights), host.name))

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

    def waiting_at(self, place: str) -> set[str]:
        """Return the names of the hosts that lack something of one place of the origin."""
        return {name for name in self.waiting if self.hosts[name].places[place]}

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

    def _set_uploads(self, host: HostState, change: int) -> None:
        self.by_uploads[host.uploads].discard(host.name)
        host.uploads += change
        if host.held:
            self.by_uploads[host.uploads].add(host.name)

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


__all__ = ["Swarm", "at_origin"]
