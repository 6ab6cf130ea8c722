"""The registry of one cluster: is told what happens to chunks, and says who fetches which one from where.

A pure state machine: no clock, no socket, no thread of its own. Whoever runs it passes events in and commands on, and
asks for commands again every second or so, as leases, bans and slow flights end with time alone.
"""

from __future__ import annotations

from functools import singledispatchmethod

from pressrun.cache.giving_up import GivingUp
from pressrun.cache.host_state import Ban, Flight, HostState
from pressrun.cache.messages import (
    ORIGIN,
    Alive,
    Command,
    Dropped,
    Event,
    Failed,
    Fetch,
    Got,
    Holds,
    Joined,
    Left,
    Recheck,
    Unwanted,
    Wants,
)
from pressrun.cache.origin_trouble import OriginTrouble
from pressrun.cache.peer_pace import PeerPace
from pressrun.cache.rounds import in_rounds
from pressrun.cache.sources import Choice, Limits, Vain, choose, peer_for
from pressrun.cache.swarm import Swarm, at_origin
from pressrun.cache.traffic import Traffic
from pressrun.cache.traffic_report import WireSource

_STALL = 0.25  # of a lease, within which every reader says several times that it is alive
_ACCUSERS = 2  # hosts that received spoilt bytes from one host before nobody asks it any more
_SETTLED = 5_000  # wishes that one answer looks at, as chunks are to be had or are so no more
_DEFAULT_LIMITS = Limits()


class Registry:
    """Chunks, their holders and the leases for reading them from the origin.

    Parameters
    ----------
    limits : Limits
        What may happen at once, and how long anybody waits.

    Attributes
    ----------
    traffic : Traffic
        The account of what came from where.
    """

    def __init__(self, limits: Limits = _DEFAULT_LIMITS) -> None:
        self.limits = limits
        self.swarm = Swarm()
        self.traffic = Traffic()
        self._hashes: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._accusers: dict[str, set[str]] = {}
        self._pace = PeerPace(limits)
        self._said: list[Command] = []
        self._giving_up = GivingUp(self.swarm)
        self._origin = OriginTrouble(self.swarm, self._giving_up, limits)
        self._asked_s = 0.0
        self._is_cut_short = False

    @property
    def has_more(self) -> bool:
        """Whether the last answer was cut short, so that nobody is held up by it: ask again soon."""
        return self._giving_up.has_more or not self.swarm.is_settled or self._is_cut_short

    def tell(self, event: Event, now_s: float) -> None:
        """Take in what happened; what follows from it comes by `commands`. News of hosts not known is passed over."""
        self._awake(now_s)
        self._heard(event, now_s)
        if event.host in self.swarm.hosts:
            self.traffic.waits(event.host, len(self.swarm.hosts[event.host].wants), now_s)

    def commands(self, now_s: float) -> list[Command]:
        """Return what hosts are to do now; each command is given once.

        Parameters
        ----------
        now_s : float
            The time by the clock of the events; may not run backwards.
        """
        self._awake(now_s)
        self._expire(now_s)
        self._forget()
        self._origin.look(now_s)
        self.swarm.settle(_SETTLED)
        said, self._said = [*self._said, *self._giving_up.take()], []
        free = self.swarm.free_hosts(self.limits.downloads)
        vain: Vain = set()
        self._is_cut_short = in_rounds(free, lambda host: self._send_for_next(host, said, vain, now_s))
        return said

    def second_tries(self, now_s: float) -> list[Command]:
        """Return fetches beside flights that take too long, for hosts that wait for nothing else; ask every second."""
        self._awake(now_s)
        said: list[Command] = []
        for host in self.swarm.hosts.values():
            if host.ready or len(host.flights) >= self.limits.downloads:
                continue
            for flight in list(host.flights.values()):
                if flight.source == ORIGIN or host.is_doubled(flight) or not self._is_late(flight, now_s):
                    continue
                source = peer_for(self.swarm, host, flight.chunk_id, self.limits, now_s)
                if source is not None:
                    said.append(self._send(host, Choice(flight.chunk_id, source), now_s))
        return said

    @singledispatchmethod
    def _heard(self, event: object, now_s: float) -> None:
        raise TypeError(f"the registry does not know what {type(event).__name__} means")

    @_heard.register
    def _(self, event: Joined, now_s: float) -> None:
        self.swarm.remove(event.host)
        self.swarm.add(HostState(event.host, event.zone, event.address))
        self.traffic.joined(event.host, event.zone)

    @_heard.register
    def _(self, event: Left, now_s: float) -> None:
        self.swarm.remove(event.host)
        self._accusers.pop(event.host, None)
        self.traffic.waits(event.host, 0, now_s)

    @_heard.register
    def _(self, event: Holds, now_s: float) -> None:
        if host := self.swarm.hosts.get(event.host):
            for chunk_id, xxh3 in event.chunks.items():
                if self._hashes.setdefault(chunk_id, xxh3) == xxh3:  # else its copy is not the one the others have
                    self.swarm.hold(host, chunk_id)

    @_heard.register
    def _(self, event: Dropped, now_s: float) -> None:
        if host := self.swarm.hosts.get(event.host):
            for chunk_id in event.chunk_ids:
                self.swarm.drop(host, chunk_id)

    @_heard.register
    def _(self, event: Wants, now_s: float) -> None:
        if host := self.swarm.hosts.get(event.host):
            self.traffic.held(host.name, event.had_bytes)
            for chunk in event.chunks:
                if chunk.xxh3:
                    self._hashes.setdefault(chunk.chunk_id, chunk.xxh3)
                self._sizes[chunk.chunk_id] = chunk.size_bytes
                if chunk.chunk_id not in host.wants:
                    news = not self.swarm.holders(chunk.chunk_id) and not self.swarm.wanting(chunk.chunk_id)
                    self.traffic.lacked(host.name, chunk.size_bytes, news)
                self.swarm.want(host, chunk.chunk_id, event.place)

    @_heard.register
    def _(self, event: Unwanted, now_s: float) -> None:
        if host := self.swarm.hosts.get(event.host):
            for chunk_id in event.chunk_ids:
                self.swarm.unwant(host, chunk_id)

    @_heard.register
    def _(self, event: Alive, now_s: float) -> None:
        for chunk_id in event.chunk_ids:
            lease = self.swarm.leases.get(chunk_id)
            if lease is not None and lease.host == event.host:
                lease.ends_s = now_s + self.limits.lease_s

    @_heard.register
    def _(self, event: Got, now_s: float) -> None:
        host = self.swarm.hosts.get(event.host)
        if host is None:
            return
        place = self._place_of(host, event)
        self._learn(event, place)
        self._end(host, event.chunk_id, event.source)
        known = self._hashes.setdefault(event.chunk_id, event.xxh3)
        if known != event.xxh3:  # only where a lease ended early and the origin gave two readers different bytes
            self._giving_up.changed(host, event.chunk_id)
            return
        host.bans.pop(at_origin(place) if event.source == ORIGIN else event.source, None)
        self._enter(host, event, now_s)
        self.swarm.hold(host, event.chunk_id)
        self.swarm.unwant(host, event.chunk_id)

    @_heard.register
    def _(self, event: Failed, now_s: float) -> None:
        host = self.swarm.hosts.get(event.host)
        if host is None:
            return
        place = self._place_of(host, event)
        self._end(host, event.chunk_id, event.source)
        if event.fault == "unneeded":
            self.swarm.unwant(host, event.chunk_id)
            return
        self.traffic.faulted(host.name, event.fault)
        if event.fault == "disk":
            self._giving_up.chunks_of(host, (event.chunk_id,), event.reason)
            return
        if event.fault == "missing":  # no fault of the peer, only of what is known of it
            if event.source in self.swarm.hosts:
                self.swarm.drop(self.swarm.hosts[event.source], event.chunk_id)
            return
        if event.fault == "busy":
            host.bans[event.source] = Ban(now_s + self.limits.busy_s)
        elif event.source == ORIGIN:
            self._origin.failed(host, event, place, now_s)
        elif event.fault == "corrupt":
            host.ban(event.source).strike(now_s, self.limits.corrupt_ban_s)
            self._accuse(host, event, now_s)
        else:
            host.ban(event.source).strike(now_s, self.limits.ban_s)

    def _learn(self, event: Got, place: str) -> None:
        """Learn from a chunk that came, while its flight still counts."""
        size_bytes = self._sizes.get(event.chunk_id, 0)
        if event.source == ORIGIN:
            self.swarm.paces[place].took(size_bytes, event.seconds, self.swarm.reads[place])
            self._origin.gave(place, event.chunk_id)
        else:
            self._pace.took(size_bytes, event.seconds)

    def _enter(self, host: HostState, event: Got, now_s: float) -> None:
        size_bytes, sender = self._sizes.get(event.chunk_id, 0), self.swarm.hosts.get(event.source)
        near = sender is not None and sender.zone == host.zone
        source: WireSource = "origin" if event.source == ORIGIN else "same_zone" if near else "other_zone"
        self.traffic.received(host.name, source, size_bytes, event.seconds, now_s, event.source if sender else "")

    def _accuse(self, host: HostState, event: Failed, now_s: float) -> None:
        self._said.append(Recheck(event.source, event.chunk_id))
        if accused := self.swarm.hosts.get(event.source):
            accused.suspect_until_s = now_s + self.limits.corrupt_ban_s
        accusers = self._accusers.setdefault(event.source, set())
        accusers.add(host.name)
        if len(accusers) >= _ACCUSERS:
            for other in self.swarm.hosts.values():
                other.ban(event.source).strike(now_s, self.limits.corrupt_ban_s)
            accusers.clear()

    def _place_of(self, host: HostState, event: Got | Failed) -> str:
        flight = host.flights.get((event.chunk_id, event.source))
        return flight.place if flight else self.swarm.place_of(event.chunk_id)

    def _end(self, host: HostState, chunk_id: str, source: str) -> None:
        flight = host.flights.get((chunk_id, source))
        if flight is not None:
            self.swarm.end(flight)

    def _awake(self, now_s: float) -> None:
        """Have time that this process slept through count for nobody: signs of life of then are still to be heard."""
        slept_s, self._asked_s = now_s - self._asked_s, now_s
        if slept_s > _STALL * self.limits.lease_s:
            self.swarm.delay(slept_s)

    def _expire(self, now_s: float) -> None:
        for flight in self.swarm.all_flights():
            if flight.ends_s <= now_s:
                self.swarm.end(flight)

    def _forget(self) -> None:
        for chunk_id in self.swarm.take_forgotten():
            self._hashes.pop(chunk_id, None)
            self._sizes.pop(chunk_id, None)
            self._origin.forget(chunk_id)

    def _send_for_next(self, host: HostState, said: list[Command], vain: Vain, now_s: float) -> bool:
        choice = choose(self.swarm, host, self.limits, now_s, vain)
        if choice is not None:
            said.append(self._send(host, choice, now_s))
        return choice is not None

    def _send(self, host: HostState, choice: Choice, now_s: float) -> Fetch:
        from_origin, size_bytes = choice.source == ORIGIN, self._sizes.get(choice.chunk_id, 0)
        timeout_s = self.limits.lease_s if from_origin else self._pace.timeout_s(size_bytes)
        # A peer's flight ends here only if the receiver is silent, who gives up first and says so.
        ends_s = now_s + (timeout_s if from_origin else timeout_s + self.limits.lease_s)
        place = self.swarm.place_of(choice.chunk_id)
        self.swarm.begin(Flight(choice.chunk_id, host.name, choice.source, now_s, ends_s, place))
        peer = self.swarm.hosts.get(choice.source)
        address, zone = (peer.address, peer.zone) if peer else ("", "")
        known = self._hashes.get(choice.chunk_id, "")
        stall_s = self._pace.stall_s(size_bytes)
        return Fetch(host.name, choice.chunk_id, choice.source, address, zone, known, timeout_s, stall_s)

    def _is_late(self, flight: Flight, now_s: float) -> bool:
        return self._pace.is_late(self._sizes.get(flight.chunk_id, 0), now_s - flight.began_s)


__all__ = ["Registry"]
