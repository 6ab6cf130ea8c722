"""What follows when a place of the origin fails a host, denies it, or cannot give what all wait for.

Knows nothing of peers.
"""

from __future__ import annotations

from pressrun.cache.giving_up import GivingUp
from pressrun.cache.host_state import HostState
from pressrun.cache.messages import Failed
from pressrun.cache.origin_faults import OriginFaults
from pressrun.cache.sources import Limits, is_usable
from pressrun.cache.swarm import Swarm, at_origin


class OriginTrouble:
    """Keeps hosts away from places that fail them, and has all give up what nobody can read.

    Parameters
    ----------
    swarm : Swarm
        Who waits for what.
    giving_up : GivingUp
        Tells hosts to do without.
    limits : Limits
        How many faults, and how much patience.
    """

    def __init__(self, swarm: Swarm, giving_up: GivingUp, limits: Limits) -> None:
        self._swarm, self._giving_up, self._limits = swarm, giving_up, limits
        self._faults = OriginFaults(limits)

    def gave(self, place: str, chunk_id: str) -> None:
        """Note that a chunk came from the origin."""
        self._faults.gave(place, chunk_id)

    def forget(self, chunk_id: str) -> None:
        """Forget what failed of a chunk."""
        self._faults.forget(chunk_id)

    def failed(self, host: HostState, event: Failed, place: str, now_s: float) -> None:
        """Take in that a host could not read a chunk from a place."""
        if event.fault == "denied":  # which says nothing of what other hosts are told
            if host.places[place]:
                self._swarm.denials.add(place, host.name, event.reason, now_s)
            return
        ban = host.ban(at_origin(place))
        if event.fault == "unreached" and self._others_may_read(host, place, now_s):  # which says nothing of the place
            ban.until_s = max(ban.until_s, now_s + self._limits.unreached_ban_s)
            return
        ban.strike(now_s, self._limits.ban_s)
        verdict = self._faults.failed(place, event.chunk_id, event.fault, now_s)
        if verdict == "chunk lost":
            self._faults.forget(event.chunk_id)
            self._giving_up.chunk(event.chunk_id, event.reason)
        elif verdict == "place lost":
            self._giving_up.place(place, event.reason)

    def look(self, now_s: float) -> None:
        """Have all give up what a place denies every host that waits for it; old denials are lifted."""
        denials = self._swarm.denials
        denials.lift_before(now_s - self._limits.denied_s)
        for place in denials.places():
            denied = denials.of(place)
            is_recent = max(denial.since_s for denial in denied.values()) + self._limits.others_come_s > now_s
            if is_recent or place not in self._swarm.unread or self._giving_up.has_more:
                continue
            if self._swarm.waiting_at(place) <= denied.keys():
                name, denial = next(iter(denied.items()))
                hosts = name if len(denied) == 1 else f"each of {len(denied)} hosts, {name} first"
                self._giving_up.place(place, f"its origin denied {hosts}: {denial.reason}")

    def _others_may_read(self, host: HostState, place: str, now_s: float) -> bool:
        others = self._swarm.waiting_at(place) - self._swarm.denials.of(place).keys() - {host.name}
        return any(is_usable(self._swarm.hosts[name], at_origin(place), now_s) for name in others)


__all__ = ["OriginTrouble"]
