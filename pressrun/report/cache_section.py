"""What a report shows of the model cache: a bar a host, cut by where its bytes came from.

Knows nothing of HTML nor of how bytes were counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from pressrun.cache.traffic_report import SOURCES, HostTraffic, Source, TrafficReport
from pressrun.cache.traffic_wording import EFFICIENCY_CLAIM, SOURCE_NAMES, bytes_of, faults, headline, percent
from pressrun.wording import duration, size

_MOST_HOSTS = 40


@dataclass(frozen=True, slots=True)
class Portion:
    """A part of a bar, or of the legend.

    Parameters
    ----------
    source : str
        Where the bytes came from; names the colour.
    name : str
        The same for people.
    size : str
        How much, for people.
    percent : float
        Of the longest bar.
    """

    source: Source
    name: str
    size: str
    percent: float


@dataclass(frozen=True, slots=True)
class HostBar:
    """One host: its name, its bytes and time in words, a remark, and the parts of its bar."""

    name: str
    told: str
    note: str
    portions: tuple[Portion, ...]


@dataclass(frozen=True, slots=True)
class CacheSection:
    """The whole section.

    Parameters
    ----------
    headline : str
        The account in one line.
    claim : str
        What its efficiency means; "" where it has none.
    legend : tuple of Portion
        What all hosts have together, by source.
    hosts : tuple of HostBar
        Those that waited longest.
    others : int
        Hosts that are not shown.
    """

    headline: str
    claim: str
    legend: tuple[Portion, ...]
    hosts: tuple[HostBar, ...]
    others: int


def cache_section(report: TrafficReport | None) -> CacheSection | None:
    """Return what there is to show; None where nothing was brought."""
    if report is None or not report.total.all_bytes:
        return None
    slowest = sorted(report.hosts, key=lambda host: (-host.bring_s, host.host))[:_MOST_HOSTS]
    longest_bytes = max(host.all_bytes for host in report.hosts)
    return CacheSection(
        headline=headline(report),
        claim=EFFICIENCY_CLAIM if report.efficiency is not None else "",
        legend=_portions(report.total, report.total.all_bytes),
        hosts=tuple(_bar(host, longest_bytes) for host in slowest),
        others=len(report.hosts) - len(slowest),
    )


def _bar(host: HostTraffic, longest_bytes: int) -> HostBar:
    speed = f", {size(host.bytes_per_s)}/s" if host.bytes_per_s else ""
    time = f" · {duration(host.bring_s)}{speed}" if host.bring_s > 0 else ""
    remarks = [
        f"zone {host.zone}" if host.zone else "",
        f"{percent(host.hit_ratio)} not from the origin" if host.all_bytes else "",
        f"{size(host.sent_bytes)} sent to others" if host.sent_bytes else "",
        f"faults: {faults(host.faults)}" if host.faults else "",
    ]
    told = f"{size(host.all_bytes)}{time}"
    return HostBar(host.host, told, "; ".join(filter(None, remarks)), _portions(host, longest_bytes))


def _portions(host: HostTraffic, whole_bytes: int) -> tuple[Portion, ...]:
    sizes = {source: bytes_of(host, source) for source in SOURCES}
    return tuple(
        Portion(source, SOURCE_NAMES[source], size(size_bytes), 100 * size_bytes / whole_bytes)
        for source, size_bytes in sizes.items()
        if size_bytes
    )
