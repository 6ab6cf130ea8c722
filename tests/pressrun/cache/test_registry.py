"""The registry as a state machine: each rule by an example; `test_registry_histories` has any order of events."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest

from pressrun.cache.messages import (
    ORIGIN,
    Abandoned,
    Alive,
    Dropped,
    Failed,
    Fault,
    Fetch,
    Got,
    Holds,
    Left,
    Recheck,
    WantedChunk,
    Wants,
)
from pressrun.cache.sources import Limits
from tests.pressrun.cache.registry_simulation import CHUNKS, LIMITS, Simulation, hashes


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


def failing(
    cluster: Simulation, fails: Callable[[Fetch], bool], fault: Fault = "origin", until_s: float = 1000.0
) -> int:
    """Play until somebody is told to give up, each read taking some 20 s; return how many failed."""
    tries = 0
    while not cluster.said:
        for _ in range(20):
            cluster.now += 1.0
            cluster.take_commands()
        if cluster.now > until_s:
            break
        for fetch in list(cluster.under_way):
            if fetch.source == ORIGIN and fails(fetch):
                tries += 1
                cluster.under_way.remove(fetch)
                cluster.registry.tell(Failed(fetch.host, fetch.chunk_id, ORIGIN, fault, "it is shut"), cluster.now)
            else:
                cluster.arrive(fetch)
    return tries


LONG_READS = replace(LIMITS, lease_s=30.0)


def test_a_chunk_that_the_origin_cannot_give_is_given_up_for_everybody_while_it_gives_others() -> None:
    cluster = Simulation({"one": "", "two": ""}, replace(LONG_READS, origin_each=1, origin_all=2))
    cluster.want_all()
    tries = failing(cluster, lambda fetch: fetch.chunk_id == "c0")
    assert tries == LIMITS.attempts
    assert set(cluster.said) == {Abandoned(name, ("c0",), "it is shut") for name in ("one", "two")}


def test_bytes_that_the_origin_has_other_than_were_published_are_given_up_after_a_few_reads() -> None:
    cluster = Simulation({"one": ""}, LONG_READS)
    cluster.registry.tell(Wants("one", CHUNKS[:1]), 0.0)
    assert failing(cluster, lambda fetch: True, "corrupt") == LIMITS.attempts


@pytest.mark.parametrize("number", [1, 8])
def test_all_that_only_a_shut_origin_has_is_given_up_after_minutes(number: int) -> None:
    cluster = Simulation({f"h{index}": "" for index in range(number)}, LONG_READS)
    cluster.want_all()
    failing(cluster, lambda fetch: True)
    assert LIMITS.origin_patience_s <= cluster.now < 2 * LIMITS.origin_patience_s
    assert {
        (said.host, chunk_id) for said in cluster.said if isinstance(said, Abandoned) for chunk_id in said.chunk_ids
    } == {(host, chunk.chunk_id) for host in cluster.zones for chunk in CHUNKS}


def test_an_origin_that_is_away_for_minutes_is_waited_for() -> None:
    cluster = Simulation({"one": "", "two": ""}, LONG_READS)
    cluster.want_all()
    failing(cluster, lambda fetch: cluster.now < 240.0, until_s=600.0)
    assert not cluster.said
    assert all(held == {chunk.chunk_id for chunk in CHUNKS} for held in cluster.held.values())


def broken_beside_sound(until_s: float) -> Simulation:
    """Have two hosts want a model of a bucket that gives nothing, and a third every 20 s one more chunk of another."""
    cluster = Simulation({"one": "", "two": "", "other": ""}, replace(LONG_READS, origin_each=1, origin_all=2))
    for name in ("one", "two"):
        cluster.registry.tell(Wants(name, CHUNKS, place="s3://broken"), 0.0)
    broken = {chunk.chunk_id for chunk in CHUNKS}
    while cluster.now < until_s:
        sound = f"sound{cluster.now}"
        cluster.registry.tell(Wants("other", (WantedChunk(sound, 100),), place="s3://sound"), cluster.now)
        cluster.now += 1.0
        cluster.take_commands()
        (read,) = [fetch for fetch in cluster.under_way if fetch.chunk_id == sound]  # at once
        cluster.arrive(read)
        for _ in range(19):
            cluster.now += 1.0
            cluster.take_commands()
        for fetch in [fetch for fetch in cluster.under_way if fetch.chunk_id in broken]:
            cluster.under_way.remove(fetch)
            cluster.registry.tell(Failed(fetch.host, fetch.chunk_id, ORIGIN, "origin", "it is shut"), cluster.now)
    return cluster


def test_a_broken_bucket_is_waited_for_though_another_gives_and_slows_nobody_who_reads_that() -> None:
    cluster = broken_beside_sound(240.0)
    assert not cluster.said
    cluster.now += 100.0  # by which every ban is over
    cluster.run()
    assert cluster.held["one"] == cluster.held["two"] == {chunk.chunk_id for chunk in CHUNKS}


def test_what_only_a_broken_bucket_has_is_given_up_after_minutes_though_another_gives() -> None:
    cluster = broken_beside_sound(2 * LIMITS.origin_patience_s)
    assert {
        (said.host, chunk_id) for said in cluster.said if isinstance(said, Abandoned) for chunk_id in said.chunk_ids
    } == {(name, chunk.chunk_id) for name in ("one", "two") for chunk in CHUNKS}


def test_a_host_goes_on_reading_one_bucket_while_another_fails_it() -> None:
    cluster = Simulation({"one": ""})
    cluster.registry.tell(Wants("one", CHUNKS[:1], place="s3://broken"), 0.0)
    cluster.take_commands()
    cluster.registry.tell(Failed("one", "c0", ORIGIN, "origin", "it is shut"), 0.0)
    cluster.under_way.clear()
    cluster.registry.tell(Wants("one", CHUNKS[1:2], place="s3://sound"), 0.0)
    cluster.take_commands()
    assert [fetch.chunk_id for fetch in cluster.under_way] == ["c1"]


def test_what_the_origin_has_no_more_is_given_up_at_once() -> None:
    cluster = Simulation({"one": ""})
    cluster.registry.tell(Wants("one", CHUNKS[:1]), 0.0)
    cluster.take_commands()
    cluster.registry.tell(Failed("one", "c0", ORIGIN, "gone", "deleted"), 0.0)
    cluster.take_commands()
    assert cluster.said == [Abandoned("one", ("c0",), "deleted")]


def test_a_reader_of_other_bytes_than_its_neighbours_is_told_so() -> None:
    cluster = Simulation({"one": "", "two": ""})
    cluster.registry.tell(Wants("one", CHUNKS[:1]), 0.0)
    cluster.registry.tell(Got("one", "c0", ORIGIN, 1.0, "aa"), 0.0)
    cluster.registry.tell(Wants("two", CHUNKS[:1]), 0.0)
    cluster.registry.tell(Got("two", "c0", ORIGIN, 1.0, "bb"), 0.0)
    (said,) = [command for command in cluster.registry.commands(0.0) if isinstance(command, Abandoned)]
    assert (said.host, "changed" in said.reason, said.are_doubtful) == ("two", True, True)


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


def test_a_lost_origin_is_told_in_one_message_a_host_and_few_hosts_at_a_time() -> None:
    chunks = tuple(WantedChunk(f"c{number}", 100) for number in range(4000))
    cluster = Simulation({f"h{number}": "" for number in range(6)}, LONG_READS)
    for name in cluster.zones:
        cluster.registry.tell(Wants(name, chunks), 0.0)
    cluster.registry.tell(Holds("h0", hashes("c7")), 0.0)
    cluster.registry._giving_up.place("", "it is shut")
    answers = []
    while not answers or cluster.registry.has_more:
        answers.append([said for said in cluster.registry.commands(0.0) if isinstance(said, Abandoned)])
    assert max(map(len, answers)) == 3
    told = {said.host: set(said.chunk_ids) for answer in answers for said in answer}
    assert len(told) == sum(map(len, answers)) == 6
    assert {name: len(chunk_ids) for name, chunk_ids in told.items()} == dict.fromkeys(cluster.zones, 3999) | {
        "h0": 4000
    }


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
