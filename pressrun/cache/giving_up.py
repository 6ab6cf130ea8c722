"""What hosts are told to do without: a chunk of the origin, or all that only one of its places has.

Knows nothing of when that is so.
"""

from __future__ import annotations

from collections import OrderedDict

from pressrun.cache.host_state import HostState
from pressrun.cache.messages import Abandoned
from pressrun.cache.swarm import Swarm

_NAMED = 10_000  # chunks after which an answer names no more hosts


class GivingUp:
    """Words that chunks cannot be had, a few hosts' at a time, so that nobody is held up by many.

    Parameters
    ----------
    swarm : Swarm
        Where the wishes are, which end with it.
    """

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self._places: OrderedDict[tuple[str, str], str] = OrderedDict()  # by host and place, why
        self._said: list[Abandoned] = []

    @property
    def has_more(self) -> bool:
        """Whether `take` has to be asked again."""
        return bool(self._places)

    def chunks_of(self, host: HostState, chunk_ids: tuple[str, ...], reason: str) -> None:
        """Have one host do without chunks."""
        for chunk_id in chunk_ids:
            self._swarm.unwant(host, chunk_id)
        self._said.append(Abandoned(host.name, chunk_ids, reason))

    def changed(self, host: HostState, chunk_id: str) -> None:
        """Have one host do without a chunk of which it was given other bytes than those before it."""
        self._swarm.unwant(host, chunk_id)
        reason = "it was changed at its origin while it was read"
        self._said.append(Abandoned(host.name, (chunk_id,), reason, are_doubtful=True))

    def chunk(self, chunk_id: str, reason: str) -> None:
        """Have every host do without a chunk that no other has."""
        for name in list(self._swarm.wanting(chunk_id)):
            if not self._swarm.has_giver(name, chunk_id):
                self.chunks_of(self._swarm.hosts[name], (chunk_id,), reason)

    def place(self, place: str, reason: str) -> None:
        """Have every host do without what no other has, as one place of the origin gives nothing."""
        self._places.update({(name, place): reason for name in self._swarm.waiting})

    def take(self) -> list[Abandoned]:
        """Return what is to be told now, each once."""
        named = 0
        while self._places and named < _NAMED:
            (name, place), reason = self._places.popitem(last=False)
            lost = self._swarm.only_at(place, name)
            if lost:
                self.chunks_of(self._swarm.hosts[name], lost, reason)
            named += len(lost)
        said, self._said = self._said, []
        return said


__all__ = ["GivingUp"]
