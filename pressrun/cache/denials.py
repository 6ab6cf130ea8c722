"""Which hosts a place of the origin denies what it has: credentials are each host's own, or those of one run.

Knows nothing of chunks, nor of what follows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Denial:
    """Since when a host is denied, and in what words."""

    since_s: float
    reason: str


class Denials:
    """What stands of them, by place and host."""

    def __init__(self) -> None:
        self._at: defaultdict[str, dict[str, Denial]] = defaultdict(dict)

    def add(self, place: str, host: str, reason: str, now_s: float) -> None:
        """Note that a place denied a host what it asked for."""
        self._at[place][host] = Denial(now_s, reason)

    def lift(self, place: str, host: str) -> None:
        """Have a host ask a place afresh."""
        if place in self._at:
            self._at[place].pop(host, None)
            if not self._at[place]:
                del self._at[place]

    def lift_before(self, since_s: float) -> None:
        """Lift what is as old as that."""
        for place in self.places():
            for host in [host for host, denial in self._at[place].items() if denial.since_s <= since_s]:
                self.lift(place, host)

    def places(self) -> tuple[str, ...]:
        """Return the places that deny anybody."""
        return tuple(self._at)

    def of(self, place: str) -> Mapping[str, Denial]:
        """Return the hosts that a place denies, the first one first."""
        return self._at.get(place, {})


__all__ = ["Denial", "Denials"]
