"""What came to the hosts and from where, in words: one line for a log, a row a host, how far it is.

Knows nothing of how it was counted, nor of where the words go.
"""

from __future__ import annotations

from collections.abc import Mapping

from pressrun.cache.traffic_report import SOURCES, HostTraffic, Source, TrafficReport
from pressrun.wording import count, duration, size

SOURCE_NAMES: dict[Source, str] = {
    "origin": "origin",
    "same_zone": "peers, same zone",
    "other_zone": "peers, other zone",
    "disk": "own disk",
    "memory": "own memory",
}
EFFICIENCY_CLAIM = (
    "Efficiency is the least time that the bytes could have taken, at the rates at which links ran while they were in "
    "use, by the time they took: what is missing to 100% was waiting, work done twice, or a slow link that others "
    "waited for. It does not tell whether links could have been faster, or others been used."
)


def headline(report: TrafficReport) -> str:
    """Return the whole account in one line."""
    total = report.total
    if not total.all_bytes:
        return f"no bytes were brought{_faults(total)}"
    where = f"{size(total.all_bytes)} on {count(len(report.hosts), 'host')}"
    parts = {name: bytes_of(total, name) for name in SOURCES}
    sources = ", ".join(f"{size(part_bytes)} from {_from(name)}" for name, part_bytes in parts.items() if part_bytes)
    if not total.wire_bytes:
        return f"{where}, all there before{f': {sources}' if total.memory_bytes else ''}{_faults(total)}"
    time = f" in {duration(report.bring_s)}" if report.bring_s > 0 else ""
    return f"{where}{time}: {sources}; {'; '.join(_measures(report))}{_faults(total)}"


def rows(report: TrafficReport) -> list[dict[str, str]]:
    """Return a row a host, and one for all if there are several."""
    several = [_row(report.total, "all hosts")] if len(report.hosts) > 1 else []
    return [*(_row(host, host.host) for host in report.hosts), *several]


def progress(report: TrafficReport) -> tuple[float, str]:
    """Return how far a bring is, 0 to 1, and one line on it."""
    total = report.total
    wanted_bytes = max(total.lacked_bytes, total.wire_bytes)
    waiting = sum(host.waiting_chunks > 0 for host in report.hosts)
    speed = f", {_speed(total)}" if total.bytes_per_s else ""
    held = {"on own disk": total.disk_bytes, "in own memory": total.memory_bytes}
    there = ", ".join(f"{size(held_bytes)} {place}" for place, held_bytes in held.items() if held_bytes)
    line = (
        f"{size(total.wire_bytes)} of {size(wanted_bytes)}, {size(total.origin_bytes)} of it from the origin; "
        f"{count(waiting, 'host')} waiting{speed}{f'; there before: {there}' if there else ''}{_faults(total)}"
    )
    return (total.wire_bytes / wanted_bytes if wanted_bytes else 0.0), line


def percent(share: float | None) -> str:
    """Return a share as people write it; a dash for none."""
    return "-" if share is None else f"{100 * share:.0f}%" if share in (0, 1) else f"{100 * share:.1f}%"


def faults(by_kind: Mapping[str, int]) -> str:
    """Return faults by kind: "2 corrupt, 1 timeout"; "" for none."""
    return ", ".join(f"{number:,} {kind}" for kind, number in sorted(by_kind.items()))


def bytes_of(host: HostTraffic, source: Source) -> int:
    """Return what a host has from one source."""
    size_bytes: int = getattr(host, f"{source}_bytes")
    return size_bytes


def _measures(report: TrafficReport) -> list[str]:
    measures = [f"{percent(report.hit_ratio)} not from the origin"]
    if report.origin_copies is not None:
        measures.append(f"{report.origin_copies:.2f} origin copies")
    if report.total.bytes_per_s:
        measures.append(_speed(report.total))
    if report.efficiency is not None:
        measures.append(f"efficiency {percent(report.efficiency)} at measured rates")
    return measures


def _row(host: HostTraffic, name: str) -> dict[str, str]:
    return {
        "host": name,
        "zone": host.zone,
        **{SOURCE_NAMES[source]: size(bytes_of(host, source)) for source in SOURCES},
        "not from the origin": percent(host.hit_ratio),
        "sent": size(host.sent_bytes),
        "chunks": f"{host.chunks:,}",
        "time": duration(host.bring_s),
        "speed": _speed(host) if host.bytes_per_s else "-",
        "faults": faults(host.faults) or "none",
    }


def _from(source: Source) -> str:
    return "the origin" if source == "origin" else SOURCE_NAMES[source]


def _speed(host: HostTraffic) -> str:
    return f"{size(host.bytes_per_s or 0.0)}/s"


def _faults(host: HostTraffic) -> str:
    return f"; faults: {faults(host.faults)}" if host.faults else ""


__all__ = ["EFFICIENCY_CLAIM", "SOURCE_NAMES", "bytes_of", "faults", "headline", "percent", "progress", "rows"]
