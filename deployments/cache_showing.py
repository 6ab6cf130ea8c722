"""A host's cache as `pressrun cache status` shows it, to people and as JSON. Looks nothing up."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from deployments.console import out
from pressrun.wording import count, duration, size

if TYPE_CHECKING:
    from workers.cache.host_states import HostPart, HostState
    from workers.cache.store_state import RevisionState

_SHOWN_DIGITS = 12


def record(host: HostState) -> dict[str, object]:
    """Return a host's cache for JSON, with its part in the cluster's if it was looked at through one."""
    return {
        **(asdict(host.part) if host.part else {}),
        "folder": str(host.store.root),
        "size_bytes": host.store.size_bytes,
        "budget_bytes": host.store.budget_bytes,
        "free_bytes": host.free_bytes,
        "revisions": [_revision_record(host, one) for one in host.store.revisions],
    }


def show(host: HostState, name: str = "") -> None:
    """Print a host's cache, under the host's name if it has one."""
    store = host.store
    limit = "no limit set" if store.budget_bytes is None else f"{size(store.budget_bytes)} allowed"
    held = f"{size(store.size_bytes)} in {count(len(store.revisions), 'model')}"
    where = f"{name}: " if name else ""
    out.print(Text(f"{where}{held}, {limit}, {size(host.free_bytes)} free on the disk   {store.root}"), soft_wrap=True)
    if host.part:
        out.print(Text(f"  {_part(host.part)}"), soft_wrap=True)
    if not store.revisions:
        return
    table = Table(box=None, pad_edge=False)
    for column in ("model", "revision", "size", "state", "last used", "from"):
        table.add_column(column, overflow="fold", justify="right" if column == "size" else "left")
    for one in sorted(store.revisions, key=lambda one: -one.last_used_s):
        known = host.known[one.revision]
        told = (known.name or "-", one.revision[:_SHOWN_DIGITS], _size(host, one), _words(one))
        table.add_row(*map(Text, (*told, _ago(one.last_used_s), known.origin or "-")))
    out.print(table)


def _part(part: HostPart) -> str:
    zone = f"zone {part.zone}" if part.zone else "no zone"
    if not part.keeper:
        return f"{zone}, serves no chunks until a run or `pressrun cache preload` has joined it"
    return f"{zone}, serves chunks at {part.address}, kept by {part.keeper}"


def _revision_record(host: HostState, one: RevisionState) -> dict[str, object]:
    known = host.known[one.revision]
    return {
        "revision": one.revision,
        "name": known.name,
        "origin": known.origin,
        "size_bytes": one.size_bytes,
        "arrived_bytes": host.arrived_bytes[one.revision],
        "complete": one.is_complete,
        "in_use": one.is_pinned,
        "filling": one.is_filling,
        "last_used": datetime.fromtimestamp(one.last_used_s, UTC).isoformat(timespec="seconds"),
    }


def _size(host: HostState, one: RevisionState) -> str:
    arrived_bytes = host.arrived_bytes[one.revision]
    return (
        size(one.size_bytes) if arrived_bytes == one.size_bytes else f"{size(arrived_bytes)} of {size(one.size_bytes)}"
    )


def _words(one: RevisionState) -> str:
    words = ["complete" if one.is_complete else "partial"]
    return ", ".join(words + ["in use"] * one.is_pinned + ["filling"] * one.is_filling)


def _ago(moment_s: float) -> str:
    return f"{duration(max(0.0, time.time() - moment_s))} ago"


__all__ = ["record", "show"]
