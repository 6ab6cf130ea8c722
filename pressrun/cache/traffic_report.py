"""How a model's bytes came to the hosts: per host and in all, as values that add, subtract and survive JSON.

Knows nothing of how they were counted (`pressrun.cache.traffic`), nor of how they are shown (`traffic_wording`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from pressrun.cache.bound import HostLink, efficiency, least_s

WireSource = Literal["origin", "same_zone", "other_zone"]
HeldSource = Literal["disk", "memory"]
Source = WireSource | HeldSource
SOURCES: tuple[Source, ...] = ("origin", "same_zone", "other_zone", "disk", "memory")


@dataclass(frozen=True, slots=True)
class HostTraffic:
    """What one host received, sent and had.

    Parameters
    ----------
    host : str
        Its name; "" for the sum of all.
    zone : str
        Where it is.
    origin_bytes, same_zone_bytes, other_zone_bytes : int
        What came over a wire, from the origin and from hosts of its own and of other zones.
    disk_bytes, memory_bytes : int
        What was wanted and was here already, on the disk or in the host's pool of loaded weights.
    chunks : int
        How many came over a wire.
    lacked_bytes : int
        What it asked for, as it did not have it.
    sent_bytes : int
        What other hosts received from it.
    faults : mapping of str to int
        Chunks that did not come as they should, by `pressrun.cache.messages.Fault`: "corrupt", "timeout", ...
    bring_s : float
        Seconds in which it waited for chunks, whether any was on its way or not.
    receiving_s, sending_s : float
        Seconds in which something was on its way to it, or from it to others.
    waiting_chunks : int
        What it still waits for.
    first_at, last_at : float or None
        When it first waited and when its last chunk came, in seconds of the account's clock; None for never.
    """

    host: str
    zone: str = ""
    origin_bytes: int = 0
    same_zone_bytes: int = 0
    other_zone_bytes: int = 0
    disk_bytes: int = 0
    memory_bytes: int = 0
    chunks: int = 0
    lacked_bytes: int = 0
    sent_bytes: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    bring_s: float = 0.0
    receiving_s: float = 0.0
    sending_s: float = 0.0
    waiting_chunks: int = 0
    first_at: float | None = None
    last_at: float | None = None

    @property
    def wire_bytes(self) -> int:
        """What came over a wire."""
        return self.origin_bytes + self.same_zone_bytes + self.other_zone_bytes

    @property
    def all_bytes(self) -> int:
        """What came or was here."""
        return self.wire_bytes + self.disk_bytes + self.memory_bytes

    @property
    def hit_ratio(self) -> float | None:
        """The part that did not come from the origin; None where there was nothing."""
        return 1 - self.origin_bytes / self.all_bytes if self.all_bytes else None

    @property
    def bytes_per_s(self) -> float | None:
        """Bytes over wires by the time waited for them; None where none was."""
        return self.wire_bytes / self.bring_s if self.bring_s > 0 else None

    @property
    def link(self) -> HostLink:
        """What came of what it lacked, and the rates its link was seen at while it was in use."""
        return HostLink(
            min(self.lacked_bytes, self.wire_bytes),
            _rate(self.wire_bytes, self.receiving_s),
            _rate(self.sent_bytes, self.sending_s),
        )

    def plus(self, other: HostTraffic) -> HostTraffic:
        """Return both accounts as one, under this one's name."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in (*_COUNTERS, "waiting_chunks")}
        moments = [at for at in (self.first_at, other.first_at) if at is not None]
        ends = [at for at in (self.last_at, other.last_at) if at is not None]
        return replace(
            self,
            **sums,
            zone=self.zone if self.zone == other.zone else self.zone or other.zone,
            faults=_summed(self.faults, other.faults, 1),
            first_at=min(moments, default=None),
            last_at=max(ends, default=None),
        )

    def minus(self, earlier: HostTraffic, since: float) -> HostTraffic:
        """Return what was added to an earlier state of the account, which was taken at `since`."""
        rest = {name: getattr(self, name) - getattr(earlier, name) for name in _COUNTERS}
        is_later = self.last_at is not None and self.last_at > since
        went_on = rest["bring_s"] > 0 or is_later
        return replace(
            self,
            **rest,
            faults=_summed(self.faults, earlier.faults, -1),
            first_at=max(self.first_at, since) if went_on and self.first_at is not None else None,
            last_at=self.last_at if is_later else None,
        )

    def record(self) -> dict[str, Any]:
        """Return the account and what follows from it as JSON values."""
        derived = ("wire_bytes", "all_bytes", "hit_ratio", "bytes_per_s")
        return asdict(self) | {name: getattr(self, name) for name in derived}


_COUNTERS = (
    *(f"{source}_bytes" for source in SOURCES),
    *("chunks", "lacked_bytes", "sent_bytes", "bring_s", "receiving_s", "sending_s"),
)


@dataclass(frozen=True, slots=True)
class TrafficReport:
    """The account of a registry, or a run's share of it.

    Parameters
    ----------
    hosts : tuple of HostTraffic
        By name.
    content_bytes : int
        Different bytes that no host had when they were first wanted: what the origin has to send once.
    bring_s : float
        Seconds in which any host waited for chunks.
    origin_s : float
        Seconds in which anything was on its way from the origin.
    taken_at : float
        When the report was made, in seconds of the account's clock.
    """

    hosts: tuple[HostTraffic, ...] = ()
    content_bytes: int = 0
    bring_s: float = 0.0
    origin_s: float = 0.0
    taken_at: float = 0.0

    @property
    def total(self) -> HostTraffic:
        """All hosts as one; `bring_s` is the time in which any of them waited, the other times add up."""
        total = HostTraffic("")
        for host in self.hosts:
            total = total.plus(replace(host, zone=""))
        return replace(total, bring_s=self.bring_s)

    @property
    def hit_ratio(self) -> float | None:
        """The part of all bytes that did not come from the origin; None where there were none."""
        return self.total.hit_ratio

    @property
    def origin_copies(self) -> float | None:
        """Bytes from the origin by those that it had to send; 1 is the least, None where it had to send none."""
        return self.total.origin_bytes / self.content_bytes if self.content_bytes else None

    @property
    def least_s(self) -> float:
        """The least time for what came, at the rates that links were seen at while they were in use.

        Those rates are what links gave, not what they could have given: this bound is never below that of the links'
        own speeds. `pressrun.cache.bound.least_s` gives the latter where speeds are known.
        """
        origin_bytes = self.total.origin_bytes
        rate = _rate(origin_bytes, self.origin_s)
        return least_s(min(self.content_bytes, origin_bytes), rate, [host.link for host in self.hosts])

    @property
    def efficiency(self) -> float | None:
        """`least_s` by the time taken, at most 1; None where hosts sent nothing to one another.

        What is claimed: how much of the time went into bytes that had to move, at the rates seen. What is missing to 1
        was waiting beside idle links, work done twice, or a link that others had to wait for. It does not tell whether
        links could have been faster, or others been used; so hosts that each read the origin alone have none.
        """
        if not self.total.sent_bytes:
            return None
        reached = efficiency(self.least_s, self.bring_s)
        return None if reached is None else min(1.0, reached)  # a share of an account cuts times where it begins

    def merged(self, other: TrafficReport) -> TrafficReport:
        """Return two reports as one; moments only mean something where both have the same clock."""
        hosts = {host.host: host for host in self.hosts}
        for host in other.hosts:
            hosts[host.host] = hosts[host.host].plus(host) if host.host in hosts else host
        return TrafficReport(
            _by_name(hosts),
            self.content_bytes + other.content_bytes,
            self.bring_s + other.bring_s,
            self.origin_s + other.origin_s,
            max(self.taken_at, other.taken_at),
        )

    def minus(self, earlier: TrafficReport) -> TrafficReport:
        """Return what came after an earlier report of the same account; hosts with nothing new are left out."""
        before = {host.host: host for host in earlier.hosts}
        rest = {
            host.host: host.minus(before.get(host.host, HostTraffic(host.host)), earlier.taken_at)
            for host in self.hosts
        }
        return TrafficReport(
            _by_name({name: host for name, host in rest.items() if _is_used(host)}),
            self.content_bytes - earlier.content_bytes,
            self.bring_s - earlier.bring_s,
            self.origin_s - earlier.origin_s,
            self.taken_at,
        )

    def record(self) -> dict[str, Any]:
        """Return the report and what follows from it as JSON values; `of_record` reads it back."""
        derived = {name: getattr(self, name) for name in ("hit_ratio", "origin_copies", "least_s", "efficiency")}
        return asdict(self) | derived | {"hosts": [host.record() for host in self.hosts], "total": self.total.record()}


def of_record(record: Mapping[str, Any]) -> TrafficReport:
    """Return the report that `TrafficReport.record` wrote.

    Raises
    ------
    KeyError, TypeError
        When it is none.
    """
    hosts = tuple(HostTraffic(**{name: row[name] for name in _names(HostTraffic)}) for row in record["hosts"])
    return TrafficReport(**{name: record[name] for name in _names(TrafficReport)} | {"hosts": hosts})


def _names(kind: type[HostTraffic | TrafficReport]) -> list[str]:
    return [field.name for field in fields(kind)]


def _by_name(hosts: Mapping[str, HostTraffic]) -> tuple[HostTraffic, ...]:
    return tuple(hosts[name] for name in sorted(hosts))


def _is_used(host: HostTraffic) -> bool:
    return bool(host.all_bytes or host.sent_bytes or host.faults or host.waiting_chunks or host.bring_s)


def _summed(some: Mapping[str, int], others: Mapping[str, int], sign: int) -> dict[str, int]:
    sums = {kind: some.get(kind, 0) + sign * others.get(kind, 0) for kind in sorted({*some, *others})}
    return {kind: number for kind, number in sums.items() if number}


def _rate(size_bytes: int, seconds: float) -> float:
    """Return bytes a second; what came in no time came at no finite rate."""
    if not size_bytes:
        return 0.0
    return size_bytes / seconds if seconds > 0 else float("inf")


__all__ = ["SOURCES", "HeldSource", "HostTraffic", "Source", "TrafficReport", "WireSource", "of_record"]
