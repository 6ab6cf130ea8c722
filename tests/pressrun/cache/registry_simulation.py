"""Hosts and their registry without a network: what they are told they do, unless a test says no."""

from __future__ import annotations

from pressrun.cache.messages import ORIGIN, Fetch, Got, Joined, WantedChunk, Wants
from pressrun.cache.registry import Registry
from pressrun.cache.sources import Limits

CHUNKS = tuple(WantedChunk(f"c{number}", 100) for number in range(6))
LIMITS = Limits(
    origin_each=2, origin_least=1, origin_all=5, downloads=3, uploads=2, lease_s=10.0, first_timeout_s=20.0, ban_s=1.0
)


def hash_of(chunk_id: str) -> str:
    return f"hash of {chunk_id}"


def hashes(*chunk_ids: str) -> dict[str, str]:
    return {chunk_id: hash_of(chunk_id) for chunk_id in chunk_ids}


class Simulation:
    """Hosts that do as they are told, with the registry they tell it to; a perfect network unless a test says no."""

    def __init__(self, hosts: dict[str, str], limits: Limits = LIMITS) -> None:
        self.registry = Registry(limits)
        self.now = 0.0
        self.origin_reads: list[str] = []
        self.crossings: list[tuple[str, str]] = []
        self.zones = hosts
        self.under_way: list[Fetch] = []
        self.held: dict[str, set[str]] = {name: set() for name in hosts}
        self.said: list[object] = []
        for name, zone in hosts.items():
            self.registry.tell(Joined(name, zone, f"{name}:1"), self.now)

    def want_all(self, *names: str) -> None:
        for name in names or self.zones:
            self.registry.tell(Wants(name, CHUNKS), self.now)

    def take_commands(self) -> None:
        for command in [*self.registry.commands(self.now), *self.registry.second_tries(self.now)]:
            if isinstance(command, Fetch):
                self.under_way.append(command)
                if command.source == ORIGIN:
                    self.origin_reads.append(command.chunk_id)
                elif self.zones[command.source] != self.zones[command.host]:
                    self.crossings.append((self.zones[command.host], command.chunk_id))
            else:
                self.said.append(command)

    def pass_time(self, seconds: float) -> None:
        """Let time go by as the scheduler does, that asks every second."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 1.0)
            self.take_commands()

    def arrive(self, fetch: Fetch) -> None:
        self.under_way.remove(fetch)
        self.held[fetch.host].add(fetch.chunk_id)
        self.registry.tell(Got(fetch.host, fetch.chunk_id, fetch.source, 1.0, hash_of(fetch.chunk_id)), self.now)

    def run(self) -> None:
        for _ in range(1000):
            self.take_commands()
            if not self.under_way:
                return
            self.now += 0.1
            self.arrive(self.under_way[0])
        raise AssertionError("the hosts never have everything")
