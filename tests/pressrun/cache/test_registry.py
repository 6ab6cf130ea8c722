"""The registry as a state machine: each rule by an example; `test_registry_histories` has any order of events."""

from __future__ import annotations

import pickle

import pytest

from pressrun.cache.messages import (
    ORIGIN,
    Alive,
    Dropped,
    Failed,
    Got,
    Holds,
    Left,
    Recheck,
    WantedChunk,
    Wants,
)
from pressrun.cache.sources import Limits
from tests.pressrun.cache.registry_simulation import CHUNKS, Simulation, hashes


def test_each_chunk_leaves_the_origin_once_for_all_hosts() -> None:
    cluster = Simulation({f"h{number}": "" for number in range(5)})
    cluster.want_all()
    cluster.run()
    assert sorted(cluster.origin_reads) == sorted(chunk.chunk_id for chunk in CHUNKS)
    assert all(held == {chunk.chunk_id for chunk in CHUNKS} for held in cluster.held.values())


def test_a_host_that_comes_later_reads_nothing_from_the_origin() -> None:
    cluster = Simulation({"early": "", "late": ""})
    cluster.want_all("early")
    cluster.run()
    read = len(cluster.origin_reads)
    cluster.want_all("late")
    cluster.run()
    assert len(cluster.origin_reads) == read
    assert cluster.held["late"] == cluster.held["early"]


def test_chunks_cross_into_a_zone_at_most_once() -> None:
    cluster = Simulation({**{f"a{n}": "a" for n in range(4)}, **{f"b{n}": "b" for n in range(4)}})
    cluster.want_all()
    cluster.run()
    assert len(cluster.crossings) == len(set(cluster.crossings))
    assert sorted(cluster.origin_reads) == sorted(chunk.chunk_id for chunk in CHUNKS)


def test_a_dead_hosts_lease_passes_to_another() -> None:
    cluster = Simulation({"dies": "", "lives": ""})
    cluster.want_all()
    cluster.take_commands()
    lost = [fetch for fetch in cluster.under_way if fetch.host == "dies"]
    assert lost
    cluster.registry.tell(Left("dies"), cluster.now)
    cluster.under_way = [fetch for fetch in cluster.under_way if fetch.host != "dies"]
    cluster.run()
    assert cluster.held["lives"] == {chunk.chunk_id for chunk in CHUNKS}
    assert len(cluster.origin_reads) == len(CHUNKS) + len(lost)


def test_a_silent_lease_ends_and_one_with_signs_of_life_does_not() -> None:
    cluster = Simulation({"slow": "", "other": ""}, Limits(origin_each=1, origin_least=1, lease_s=10.0))
    cluster.registry.tell(Wants("slow", CHUNKS[:1]), 0.0)
    cluster.take_commands()
    cluster.registry.tell(Wants("other", CHUNKS[:1]), 1.0)
    cluster.pass_time(9.0)
    cluster.registry.tell(Alive("slow", ("c0",)), cluster.now)
    cluster.pass_time(9.0)
    assert [fetch.host for fetch in cluster.under_way] == ["slow"]
    cluster.pass_time(1.1)
    assert len([fetch for fetch in cluster.under_way if fetch.source == ORIGIN]) == 2


def test_time_that_the_scheduler_slept_through_ends_no_lease_and_makes_nothing_late() -> None:
    cluster = Simulation({"one": "", "two": "", "three": ""})
    cluster.registry.tell(Holds("three", hashes("c4", "c5")), 0.0)
    cluster.registry.tell(Holds("two", hashes("c5")), 0.0)
    cluster.registry.tell(Wants("one", CHUNKS[4:5]), 0.0)
    cluster.run()
    cluster.want_all("one", "two")
    cluster.take_commands()
    under_way = list(cluster.under_way)
    assert {fetch.source for fetch in under_way} > {ORIGIN}
    cluster.now += 60.0
    cluster.take_commands()
    cluster.pass_time(9.0)
    assert [fetch for fetch in cluster.under_way if fetch.source == ORIGIN] == [
        fetch for fetch in under_way if fetch.source == ORIGIN
    ]
    cluster.pass_time(2.0)
    assert len(cluster.origin_reads) > len([fetch for fetch in under_way if fetch.source == ORIGIN])


def test_spoilt_bytes_are_fetched_elsewhere_and_their_sender_is_asked_to_look() -> None:
    cluster = Simulation({"bad": "", "good": "", "new": ""})
    for name in ("bad", "good"):
        cluster.registry.tell(Holds(name, hashes("c0")), 0.0)
    cluster.registry.tell(Wants("new", CHUNKS[:1]), 0.0)
    cluster.take_commands()
    (first,) = cluster.under_way
    cluster.under_way.clear()
    cluster.registry.tell(Failed("new", "c0", first.source, "corrupt"), 0.0)
    cluster.take_commands()
    (second,) = cluster.under_way
    assert {first.source, second.source} == {"bad", "good"}
    assert cluster.said == [Recheck(first.source, "c0")]


def test_a_peer_that_serves_nobody_does_not_bring_the_storm_back() -> None:
    cluster = Simulation({"bad": "", **{f"h{number}": "" for number in range(6)}})
    cluster.registry.tell(Holds("bad", hashes("c0")), 0.0)
    for number in range(6):
        cluster.registry.tell(Wants(f"h{number}", CHUNKS[:1]), 0.0)
    for _ in range(100):
        cluster.take_commands()
        if not cluster.under_way:
            break
        fetch = cluster.under_way[0]
        if fetch.source == "bad":
            cluster.under_way.remove(fetch)
            cluster.registry.tell(Failed(fetch.host, fetch.chunk_id, fetch.source, "corrupt"), cluster.now)
        else:
            cluster.arrive(fetch)
    assert cluster.origin_reads == ["c0"]
    assert all("c0" in cluster.held[f"h{number}"] for number in range(6))


def test_who_sent_spoilt_bytes_reads_nothing_from_the_origin_for_others() -> None:
    cluster = Simulation({"bad": "", "good": ""})
    cluster.registry.tell(Holds("bad", hashes("c0")), 0.0)
    cluster.registry.tell(Failed("good", "c0", "bad", "corrupt"), 0.0)
    cluster.want_all()
    cluster.take_commands()
    readers = [fetch.host for fetch in cluster.under_way if fetch.source == ORIGIN]
    assert set(readers) == {"good"}
    cluster.run()
    assert cluster.held["bad"] | {"c0"} == cluster.held["good"] == {chunk.chunk_id for chunk in CHUNKS}


def test_a_copy_that_differs_from_the_one_the_others_have_is_not_handed_on() -> None:
    cluster = Simulation({"right": "", "other": "", "new": ""})
    cluster.registry.tell(Holds("right", {"c0": "aa"}), 0.0)
    cluster.registry.tell(Holds("other", {"c0": "bb"}), 0.0)
    assert cluster.registry.swarm.holders("c0") == {"right"}


def test_a_host_that_asks_for_what_it_was_thought_to_have_gets_it() -> None:
    simulation = Simulation({"a": "", "b": ""})
    simulation.registry.tell(Holds("a", hashes("c0")), 0.0)
    simulation.registry.tell(Wants("a", CHUNKS[:1]), 0.0)  # it lost the chunk, and nobody knew
    simulation.run()
    assert simulation.held["a"] == {"c0"}
    assert simulation.origin_reads == ["c0"]


def test_a_host_that_wants_for_one_model_what_another_has_keeps_its_wish_and_serves_others() -> None:
    cluster = Simulation({"a": "", "b": ""})
    cluster.registry.tell(Wants("a", CHUNKS[:1]), 0.0)
    cluster.registry.tell(Holds("a", hashes("c0")), 0.0)
    cluster.registry.tell(Wants("b", CHUNKS[:1]), 0.0)
    cluster.run()
    assert cluster.held["a"] == cluster.held["b"] == {"c0"}
    assert not cluster.registry.swarm.waiting


def test_what_nobody_has_or_wants_any_more_is_forgotten() -> None:
    cluster = Simulation({"one": "", "two": ""})
    cluster.want_all()
    cluster.run()
    for name in cluster.zones:
        cluster.registry.tell(Dropped(name, tuple(chunk.chunk_id for chunk in CHUNKS)), cluster.now)
        cluster.take_commands()
    cluster.registry.tell(Wants("two", CHUNKS[:1]), cluster.now)
    cluster.take_commands()
    assert cluster.under_way[0].xxh3 == ""  # another content of that name is as good as the one that was
    everything = pickle.dumps([cluster.registry._hashes, cluster.registry._sizes, cluster.registry.swarm])
    assert b"c0" in everything
    assert not any(chunk.chunk_id.encode() in everything for chunk in CHUNKS[1:])


@pytest.mark.parametrize(("seconds", "stall_s"), [(0.1, 3.0), (2.0, 4.0), (30.0, 10.0)])
def test_a_silent_peer_is_waited_for_twice_as_long_as_a_chunk_takes_within_bounds(
    seconds: float, stall_s: float
) -> None:
    cluster = Simulation({"holder": "", "new": ""})
    cluster.registry.tell(Holds("holder", hashes("c0", "c1")), 0.0)
    cluster.registry.tell(Wants("new", CHUNKS[:1]), 0.0)
    cluster.take_commands()
    (first,) = cluster.under_way
    cluster.registry.tell(Got("new", "c0", "holder", seconds, first.xxh3), 0.0)
    cluster.registry.tell(Wants("new", CHUNKS[1:2]), 0.0)
    cluster.under_way.clear()
    cluster.take_commands()
    (second,) = cluster.under_way
    assert (first.stall_s, second.stall_s) == (10.0, stall_s)


def test_a_slow_flight_at_the_end_is_doubled_from_another_holder() -> None:
    cluster = Simulation({"slow": "", "fast": "", "new": ""})
    for name in ("slow", "fast"):
        cluster.registry.tell(Holds(name, hashes("c0", "c1")), 0.0)
    cluster.registry.tell(Wants("new", CHUNKS[:2]), 0.0)
    cluster.take_commands()
    quick, late = cluster.under_way
    cluster.arrive(quick)
    cluster.pass_time(5.0)
    (second,) = [fetch for fetch in cluster.under_way if fetch is not late]
    assert (second.chunk_id, second.source != late.source) == (late.chunk_id, True)


def test_a_holder_of_much_that_many_want_is_taken_in_bit_by_bit() -> None:
    chunks = tuple(WantedChunk(f"c{number}", 100) for number in range(6000))
    cluster = Simulation({f"h{number}": "" for number in range(11)})
    for number in range(1, 11):
        cluster.registry.tell(Wants(f"h{number}", chunks), 0.0)
    hosts = cluster.registry.swarm.hosts
    cluster.registry.tell(Holds("h0", hashes(*(chunk.chunk_id for chunk in chunks))), 0.0)
    assert not any(host.ready for host in hosts.values())
    cluster.take_commands()
    assert cluster.under_way
    assert 0 < sum(len(host.ready) for host in hosts.values()) <= 5_000
    while cluster.registry.has_more:
        cluster.take_commands()
    assert sum(len(host.ready) + len(host.flights) for host in hosts.values()) >= 60_000
    cluster.registry.tell(Left("h0"), 0.0)
    while cluster.registry.has_more:
        cluster.take_commands()
    assert not any(host.ready for host in hosts.values())


def test_one_id_of_a_chunk_is_kept_for_all_hosts() -> None:
    cluster = Simulation({"one": "", "two": "", "three": ""})
    for name in ("one", "two"):
        cluster.registry.tell(Wants(name, pickle.loads(pickle.dumps(CHUNKS))), 0.0)
    cluster.registry.tell(Holds("three", pickle.loads(pickle.dumps(hashes("c0")))), 0.0)
    one, two, three = cluster.registry.swarm.hosts.values()
    assert all(mine is theirs for mine, theirs in zip(one.wants, two.wants, strict=True))
    assert next(iter(three.held)) is next(iter(one.wants))
