"""Enters what a registry hears into the account of traffic.

Knows nothing of plans: reads the swarm, never changes it.
"""

from __future__ import annotations

from collections.abc import Mapping

from pressrun.cache.messages import ORIGIN, Event, Failed, Got, Joined, Wants
from pressrun.cache.swarm import HostState, Swarm
from pressrun.cache.traffic import Traffic
from pressrun.cache.traffic_report import WireSource


class Meter:
    """The account of one swarm.

    Parameters
    ----------
    swarm : Swarm
        Who holds and wants what.
    sizes : mapping of str to int
        Sizes of chunks by id, of all that were ever wanted.
    """

    def __init__(self, swarm: Swarm, sizes: Mapping[str, int]) -> None:
        self.traffic = Traffic()
        self._swarm = swarm
        self._sizes = sizes
        self._waiting: set[str] = set()

    def hear(self, event: Event, now_s: float) -> None:
        """Enter an event; call it before the swarm takes the event in."""
        if isinstance(event, Joined):
            self.traffic.joined(event.host, event.zone)
        elif (host := self._swarm.hosts.get(event.host)) is None:
            return
        elif isinstance(event, Wants):
            self._want(host, event)
        elif isinstance(event, Got):
            size_bytes = self._sizes.get(event.chunk_id, 0)
            self.traffic.received(
                host.name, self._kind(host, event.source), size_bytes, event.seconds, now_s, event.source
            )
        elif isinstance(event, Failed):
            self.traffic.faulted(host.name, event.fault)

    def settle(self, now_s: float) -> None:
        """Enter who waits for how much by now, for itself or because others gave up or left."""
        waiting = {name: len(host.wants) for name, host in self._swarm.hosts.items() if host.wants}
        for name in self._waiting - waiting.keys():
            self.traffic.waits(name, 0, now_s)
        for name, chunks in waiting.items():
            self.traffic.waits(name, chunks, now_s)
        self._waiting = set(waiting)

    def _want(self, host: HostState, event: Wants) -> None:
        for chunk in {chunk.chunk_id: chunk for chunk in event.chunks}.values():
            if chunk.chunk_id in host.wants or chunk.chunk_id in host.held:
                continue
            is_known = self._swarm.holders(chunk.chunk_id) or self._swarm.wanting(chunk.chunk_id)
            self.traffic.lacked(host.name, chunk.size_bytes, nobody_has=not is_known)

    def _kind(self, host: HostState, source: str) -> WireSource:
        if source == ORIGIN:
            return "origin"
        sender = self._swarm.hosts.get(source)  # gone by now: taken for a neighbour, as most are
        return "same_zone" if sender is None or sender.zone == host.zone else "other_zone"


__all__ = ["Meter"]
