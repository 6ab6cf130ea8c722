"""The running account of what comes to hosts, and from where.

Knows nothing of chunks' ids nor of plans: whoever does tells it, with the time. Not for several threads at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from pressrun.cache.messages import Fault
from pressrun.cache.traffic_report import HeldSource, HostTraffic, Source, TrafficReport, WireSource


@dataclass(slots=True)
class _Used:
    """Seconds in which a link was in use, however many chunks shared it."""

    seconds: float = 0.0
    until: float = float("-inf")

    def add(self, began: float, ended: float) -> None:
        """Enter a chunk's time; chunks come in the order in which they end, so that what overlaps is known."""
        self.seconds += max(0.0, ended - max(began, self.until))
        self.until = max(self.until, ended)


@dataclass(slots=True)
class _Waited:
    """Seconds in which anything was waited for."""

    seconds: float = 0.0
    since: float | None = None

    def turn(self, waits: bool, now: float) -> None:
        """Begin or end waiting; saying the same again changes nothing."""
        if waits and self.since is None:
            self.since = now
        elif not waits and self.since is not None:
            self.seconds += max(0.0, now - self.since)
            self.since = None

    def by(self, now: float) -> float:
        """Return the seconds until now."""
        return self.seconds + (max(0.0, now - self.since) if self.since is not None else 0.0)


@dataclass(slots=True)
class _Host:
    zone: str = ""
    from_bytes: Counter[Source] = field(default_factory=Counter)
    chunks: int = 0
    lacked_bytes: int = 0
    sent_bytes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    waited: _Waited = field(default_factory=_Waited)
    receiving: _Used = field(default_factory=_Used)
    sending: _Used = field(default_factory=_Used)
    waiting_chunks: int = 0
    first_at: float | None = None
    last_at: float | None = None

    def traffic(self, name: str, now: float) -> HostTraffic:
        return HostTraffic(
            host=name,
            zone=self.zone,
            origin_bytes=self.from_bytes["origin"],
            same_zone_bytes=self.from_bytes["same_zone"],
            other_zone_bytes=self.from_bytes["other_zone"],
            disk_bytes=self.from_bytes["disk"],
            memory_bytes=self.from_bytes["memory"],
            chunks=self.chunks,
            lacked_bytes=self.lacked_bytes,
            sent_bytes=self.sent_bytes,
            faults=dict(self.faults),
            bring_s=self.waited.by(now),
            receiving_s=self.receiving.seconds,
            sending_s=self.sending.seconds,
            waiting_chunks=self.waiting_chunks,
            first_at=self.first_at,
            last_at=self.last_at,
        )


@dataclass(frozen=True, slots=True)
class Pull:
    """What one host read from the origin by itself.

    Parameters
    ----------
    host : str
        Its name.
    revision : str
        What it needed.
    origin_bytes : int
        What it read.
    held_bytes : int
        What it had.
    """

    host: str
    revision: str
    origin_bytes: int
    held_bytes: int


class Traffic:
    """The account of all hosts of a cluster since it was opened.

    Every moment is a second of one clock that never goes back.
    """

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}
        self._content_bytes = 0
        self._waited = _Waited()
        self._waiting: set[str] = set()
        self._origin = _Used()

    def joined(self, host: str, zone: str) -> None:
        """Note a host's zone."""
        self._host(host).zone = zone

    def lacked(self, host: str, size_bytes: int, nobody_has: bool) -> None:
        """Note that a host asks for bytes.

        Parameters
        ----------
        host : str
            Who lacks them.
        size_bytes : int
            How many, each chunk told once for as long as the host waits for it.
        nobody_has : bool
            Whether no host has them nor waits for them, so that they have to come from the origin.
        """
        self._host(host).lacked_bytes += size_bytes
        if nobody_has:
            self._content_bytes += size_bytes

    def waits(self, host: str, chunks: int, now: float) -> None:
        """Note how many chunks a host waits for now; its time counts until it waits for none.

        Parameters
        ----------
        host : str
            Who waits.
        chunks : int
            0 when it has them all, gave up or left.
        now : float
            The moment.
        """
        account = self._host(host)
        account.waiting_chunks = chunks
        account.waited.turn(chunks > 0, now)
        if chunks:
            account.first_at = now if account.first_at is None else account.first_at
            self._waiting.add(host)
        else:
            self._waiting.discard(host)
        self._waited.turn(bool(self._waiting), now)

    def received(
        self, host: str, source: WireSource, size_bytes: int, seconds: float, now: float, sender: str = ""
    ) -> None:
        """Enter a chunk that has come.

        Parameters
        ----------
        host : str
            Who has it now.
        source : str
            "origin", or a peer of the "same_zone" or of an "other_zone".
        size_bytes : int
            Its size.
        seconds : float
            How long it was on its way.
        now : float
            The moment.
        sender : str
            The peer that sent it; "" for the origin.
        """
        account = self._host(host)
        account.from_bytes[source] += size_bytes
        account.chunks += 1
        account.receiving.add(now - seconds, now)
        account.first_at = now - seconds if account.first_at is None else account.first_at
        account.last_at = now
        if source == "origin":
            self._origin.add(now - seconds, now)
        elif sender:
            peer = self._host(sender)
            peer.sent_bytes += size_bytes
            peer.sending.add(now - seconds, now)

    def held(self, host: str, size_bytes: int, source: HeldSource = "disk") -> None:
        """Enter bytes that were wanted and were on the host already."""
        self._host(host).from_bytes[source] += size_bytes

    def faulted(self, host: str, fault: Fault) -> None:
        """Count a chunk that did not come to a host as it should."""
        self._host(host).faults[fault] += 1

    def snapshot(self, now: float) -> TrafficReport:
        """Return how things stand at a moment."""
        hosts = tuple(self._hosts[name].traffic(name, now) for name in sorted(self._hosts))
        return TrafficReport(hosts, self._content_bytes, self._waited.by(now), self._origin.seconds, now)

    def _host(self, name: str) -> _Host:
        return self._hosts.setdefault(name, _Host())


def account_of_pulls(pulls: Iterable[Pull], seconds: float) -> TrafficReport:
    """Return the account of hosts that did not share; each model counts as one chunk.

    Parameters
    ----------
    pulls : iterable of Pull
        One a host and model.
    seconds : float
        How long it took all of them.
    """
    traffic, revisions, hosts = Traffic(), set(), set()
    for pull in pulls:
        if pull.held_bytes:
            traffic.held(pull.host, pull.held_bytes)
        if pull.origin_bytes:
            traffic.lacked(pull.host, pull.origin_bytes, nobody_has=pull.revision not in revisions)
            traffic.waits(pull.host, 1, 0.0)
            traffic.received(pull.host, "origin", pull.origin_bytes, seconds, seconds)
            revisions.add(pull.revision)
            hosts.add(pull.host)
    for host in hosts:
        traffic.waits(host, 0, seconds)
    return traffic.snapshot(seconds)


__all__ = ["Pull", "Traffic", "account_of_pulls"]
