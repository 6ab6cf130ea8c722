"""What is known of one host, of what is under way to it, and of whom it keeps away from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pressrun.cache.messages import ORIGIN


@dataclass(slots=True)
class Flight:
    """One chunk on its way to one host; where it comes from the origin, this is the lease.

    Parameters
    ----------
    chunk_id : str
        The chunk.
    host : str
        Who gets it.
    source : str
        The host it comes from, or `ORIGIN`.
    began_s : float
        When it was sent for.
    ends_s : float
        When it counts as lost, if nothing is heard.
    place : str
        Where the origin has it, if it comes from there.
    """

    chunk_id: str
    host: str
    source: str
    began_s: float
    ends_s: float
    place: str = ""


@dataclass(slots=True)
class Ban:
    """Until when a host keeps away from a source, and how often in a row that came to be."""

    until_s: float = 0.0
    strikes: int = 0

    def strike(self, now_s: float, first_s: float) -> None:
        """Keep away once more, longer each time."""
        if self.until_s > now_s:  # what was under way at once fails at once, and says no more than one of it
            self.until_s = max(self.until_s, now_s + first_s)
            return
        self.until_s = now_s + first_s * 2**self.strikes
        self.strikes = min(self.strikes + 1, 5)


@dataclass(slots=True)
class HostState:
    """What is known of one host.

    Parameters
    ----------
    name, zone, address : str
        As it joined.
    held : set of str
        Chunks it serves.
    wants : dict
        Chunks it lacks, in its order; values mean nothing.
    ready : dict
        Ids of those that another host holds and that are not under way to it, oldest first; values mean nothing.
    flights : dict
        What is under way to it, by chunk and source.
    uploads : int
        Chunks under way from it.
    bans : dict
        Sources that failed it, places of the origin by `at_origin`.
    places : Counter of str
        How many of its wishes lie at each place of the origin.
    suspect_until_s : float
        Until when it reads nothing from the origin for others, as spoilt bytes came from it.
    """

    name: str
    zone: str
    address: str
    held: set[str] = field(default_factory=set)
    wants: dict[str, None] = field(default_factory=dict)
    ready: dict[str, None] = field(default_factory=dict)
    flights: dict[tuple[str, str], Flight] = field(default_factory=dict)
    uploads: int = 0
    bans: dict[str, Ban] = field(default_factory=dict)
    places: Counter[str] = field(default_factory=Counter)
    suspect_until_s: float = 0.0

    def banned(self, now_s: float) -> set[str]:
        """Return the sources that it keeps away from."""
        return {source for source, ban in self.bans.items() if ban.until_s > now_s}

    def ban(self, source: str) -> Ban:
        """Return what keeps it from a source, at first nothing."""
        return self.bans.setdefault(source, Ban())

    def is_doubled(self, flight: Flight) -> bool:
        """Return whether the chunk of a flight to this host is under way to it from another source too."""
        return sum(chunk_id == flight.chunk_id for chunk_id, _ in self.flights) > 1

    def origin_reads(self, place: str) -> int:
        """Return how many chunks are under way to it from one place of the origin."""
        return sum(flight.source == ORIGIN and flight.place == place for flight in self.flights.values())


__all__ = ["Ban", "Flight", "HostState"]
