"""Hosts come, go, fail and lie in any order, and still every byte is read once at a time and arrives."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pressrun.cache.messages import ORIGIN, Dropped, Failed, Holds, Joined, Left, WantedChunk, Wants
from pressrun.cache.registry import Registry
from tests.pressrun.cache.registry_simulation import CHUNKS, LIMITS, Simulation, hashes

PLACES = ("s3://one/model", "s3://two/model")


class AnyHistory(RuleBasedStateMachine):
    """Any order of arrivals, deaths, faults, lost messages and time passing."""

    hosts = st.sampled_from(["a", "b", "c", "d"])

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Simulation({name: "x" if name in "ab" else "y" for name in "abcd"})
        self.cluster.registry = Registry(LIMITS)
        self.gone = set(self.cluster.zones)

    @initialize()
    def begin(self) -> None:
        for name in "abc":
            self.join(name)

    @rule(name=hosts)
    def join(self, name: str) -> None:
        cluster = self.cluster
        self.gone.discard(name)
        cluster.under_way = [fetch for fetch in cluster.under_way if fetch.host != name]
        cluster.registry.tell(Joined(name, cluster.zones[name], f"{name}:1"), cluster.now)
        cluster.registry.tell(Holds(name, hashes(*cluster.held[name])), cluster.now)
        lacking = [chunk for chunk in CHUNKS if chunk.chunk_id not in cluster.held[name]]
        for number, place in enumerate(PLACES):
            cluster.registry.tell(Wants(name, tuple(lacking[number::2]), place=place), cluster.now)

    @rule(name=hosts)
    def die(self, name: str) -> None:
        self.gone.add(name)
        self.cluster.under_way = [fetch for fetch in self.cluster.under_way if fetch.host != name]
        self.cluster.registry.tell(Left(name), self.cluster.now)

    @rule(name=hosts, chunk=st.sampled_from(CHUNKS))
    def evict(self, name: str, chunk: WantedChunk) -> None:
        if name not in self.gone and chunk.chunk_id in self.cluster.held[name]:
            self.cluster.held[name].discard(chunk.chunk_id)
            self.cluster.registry.tell(Dropped(name, (chunk.chunk_id,)), self.cluster.now)
            self.cluster.registry.tell(Wants(name, (chunk,)), self.cluster.now)

    @rule(name=hosts, chunk=st.sampled_from(CHUNKS))
    def find(self, name: str, chunk: WantedChunk) -> None:
        """It comes to the host in a revision that does not need it; the one that does lacks it still."""
        if name not in self.gone:
            self.cluster.registry.tell(Holds(name, hashes(chunk.chunk_id)), self.cluster.now)

    @rule(name=hosts, chunk=st.sampled_from(CHUNKS), place=st.sampled_from(PLACES))
    def want_again(self, name: str, chunk: WantedChunk, place: str) -> None:
        if name not in self.gone:
            self.cluster.registry.tell(Wants(name, (chunk,), place=place), self.cluster.now)

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 30.0]))
    def look(self, seconds: float) -> None:
        before = list(self.cluster.under_way)
        self.cluster.take_commands()
        self.cluster.pass_time(seconds)
        swarm = self.cluster.registry.swarm
        for fetch in [fetch for fetch in self.cluster.under_way if fetch.source == ORIGIN and fetch not in before]:
            assert fetch.host not in swarm.denials.of(swarm.place_of(fetch.chunk_id))

    @rule(seconds=st.sampled_from([3.0, 13.0, 100.0]))
    def sleep(self, seconds: float) -> None:
        """The scheduler is held up, while hosts go on with what they were sent for."""
        cluster = self.cluster
        before = {(flight.host, flight.chunk_id, flight.source) for flight in cluster.registry.swarm.all_flights()}
        cluster.now += seconds
        cluster.take_commands()
        flights = cluster.registry.swarm.all_flights()
        assert before <= {(flight.host, flight.chunk_id, flight.source) for flight in flights}

    @precondition(lambda self: self.cluster.under_way)
    @rule(
        which=st.integers(min_value=0),
        fault=st.sampled_from(["", "corrupt", "timeout", "refused", "missing", "lost", "denied", "unreached"]),
    )
    def conclude(self, which: int, fault: str) -> None:
        cluster = self.cluster
        fetch = cluster.under_way[which % len(cluster.under_way)]
        if fault == "":
            cluster.arrive(fetch)
            return
        cluster.under_way.remove(fetch)
        if fault != "lost" and (fault in ("denied", "unreached")) == (fetch.source == ORIGIN):
            cluster.registry.tell(Failed(fetch.host, fetch.chunk_id, fetch.source, fault), cluster.now)  # type: ignore[arg-type]

    @invariant()
    def nobody_reads_what_another_reads(self) -> None:
        swarm = self.cluster.registry.swarm
        readers = [flight.chunk_id for flight in swarm.all_flights() if flight.source == ORIGIN]
        assert len(readers) == len(set(readers))
        assert set(readers) == set(swarm.leases)

    @invariant()
    def limits_hold_and_books_agree(self) -> None:
        swarm = self.cluster.registry.swarm
        flights = swarm.all_flights()
        for host in swarm.hosts.values():
            assert len(host.flights) <= LIMITS.downloads
            assert host.uploads == sum(flight.source == host.name for flight in flights) <= LIMITS.uploads
            assert all(host.origin_reads(place) <= LIMITS.origin_all for place in ("", *PLACES))
            assert set(host.ready) <= set(host.wants)
        unread = [chunk_id for chunks in swarm.unread.values() for chunk_id in chunks]
        assert len(unread) == len(set(unread))
        assert not set(unread) & set(swarm.leases)
        for place in swarm.denials.places():
            assert all(swarm.hosts[name].places[place] for name in swarm.denials.of(place))
        assert +swarm.reads == Counter(lease.place for lease in swarm.leases.values())

    def teardown(self) -> None:
        """Whatever happened: with time and a sound network, every living host has everything."""
        cluster = self.cluster
        cluster.pass_time(LIMITS.first_timeout_s + LIMITS.lease_s)  # what was lost ends
        for name in set(cluster.zones) - self.gone:  # some were told to do without what all were denied
            lacking = tuple(chunk for chunk in CHUNKS if chunk.chunk_id not in cluster.held[name])
            cluster.registry.tell(Wants(name, lacking), cluster.now)
        for _ in range(50):
            cluster.now += 200.0
            cluster.take_commands()
            while cluster.under_way:
                cluster.arrive(cluster.under_way[0])
                cluster.take_commands()
        for name in set(cluster.zones) - self.gone:
            assert not cluster.registry.swarm.hosts[name].wants
            assert cluster.held[name] == {chunk.chunk_id for chunk in CHUNKS}


TestAnyHistory = pytest.mark.filterwarnings("default")(AnyHistory.TestCase)
TestAnyHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
