"""What the registry does when an origin fails, lacks or changes chunks, each rule by an example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from itertools import pairwise

import pytest

from pressrun.cache.messages import (
    ORIGIN,
    Abandoned,
    Alive,
    Failed,
    Fault,
    Fetch,
    Got,
    Holds,
    Left,
    Unwanted,
    WantedChunk,
    Wants,
)
from pressrun.cache.origin_faults import OriginFaults
from tests.pressrun.cache.registry_simulation import CHUNKS, LIMITS, Simulation, hashes


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


def denying(cluster: Simulation, denied: Collection[str], until_s: float = 60.0) -> None:
    """Play with hosts that the origin does not let read."""
    while cluster.now < until_s:
        cluster.take_commands()
        for fetch in list(cluster.under_way):
            if fetch.source == ORIGIN and fetch.host in denied:
                cluster.under_way.remove(fetch)
                cluster.registry.tell(Failed(fetch.host, fetch.chunk_id, ORIGIN, "denied", "status 403"), cluster.now)
            else:
                cluster.arrive(fetch)
        cluster.now += 0.5


EIGHT = {f"h{number}": "" for number in range(8)}


@pytest.mark.parametrize("denied", [("h0",), tuple(EIGHT)[:7]])
def test_what_the_origin_denies_some_hosts_the_others_read_for_them(denied: tuple[str, ...]) -> None:
    cluster = Simulation(EIGHT)
    cluster.want_all()
    denying(cluster, denied)
    assert not cluster.said
    assert all(held == {chunk.chunk_id for chunk in CHUNKS} for held in cluster.held.values())
    assert len(cluster.origin_reads) <= len(CHUNKS) + len(denied) * LIMITS.origin_each


def test_what_the_origin_denies_every_host_is_given_up_with_its_words_and_the_first_one_denied() -> None:
    cluster = Simulation(EIGHT)
    cluster.want_all()
    denying(cluster, EIGHT)
    said = [command for command in cluster.said if isinstance(command, Abandoned)]
    assert {(each.host, chunk_id) for each in said for chunk_id in each.chunk_ids} == {
        (host, chunk.chunk_id) for host in EIGHT for chunk in CHUNKS
    }
    assert {each.reason for each in said} == {"its origin denied each of 8 hosts, h0 first: status 403"}


def test_a_host_that_comes_just_after_the_only_one_was_denied_reads_for_both() -> None:
    cluster = Simulation({"one": "", "two": ""})
    cluster.want_all("one")
    denying(cluster, ("one",), until_s=LIMITS.others_come_s)
    cluster.want_all("two")
    denying(cluster, ("one",))
    assert not cluster.said
    assert all(held == {chunk.chunk_id for chunk in CHUNKS} for held in cluster.held.values())


def test_what_a_host_that_left_could_read_is_given_up_by_those_that_were_denied() -> None:
    cluster = Simulation({"one": "", "two": ""})
    cluster.want_all()
    cluster.take_commands()
    cluster.under_way = [fetch for fetch in cluster.under_way if fetch.host == "one"]
    denying(cluster, ("one",), until_s=2 * LIMITS.others_come_s)
    assert not cluster.said
    cluster.registry.tell(Left("two"), cluster.now)
    denying(cluster, ("one",))
    said = [command for command in cluster.said if isinstance(command, Abandoned)]
    assert {each.reason for each in said} == {"its origin denied one: status 403"}
    assert not cluster.registry.swarm.waiting


def test_a_place_that_denies_a_host_is_asked_afresh_once_that_waits_for_nothing_there() -> None:
    cluster = Simulation({"one": ""})
    for place in ("s3://closed", "s3://open", "s3://closed"):
        cluster.registry.tell(Wants("one", CHUNKS[:1], place=place), cluster.now)
        cluster.take_commands()
        (fetch,) = cluster.under_way
        cluster.under_way.clear()
        cluster.registry.tell(Failed("one", fetch.chunk_id, ORIGIN, "denied", "status 403"), cluster.now)
        cluster.registry.tell(Unwanted("one", (fetch.chunk_id,)), cluster.now)


def test_hosts_without_a_way_to_the_origin_are_passed_over_and_cost_no_chunk() -> None:
    cluster = Simulation(EIGHT)
    cluster.want_all()
    lost, tries = {"h0", "h3", "h5", "h6"}, Counter[str]()
    while cluster.now < 15.0:
        cluster.take_commands()
        for fetch in list(cluster.under_way):
            if fetch.source != ORIGIN or fetch.host not in lost:
                cluster.arrive(fetch)
            elif cluster.now - cluster.registry.swarm.leases[fetch.chunk_id].began_s >= 5.0:  # as connecting takes
                cluster.under_way.remove(fetch)
                tries[fetch.host] += 1
                cluster.registry.tell(Failed(fetch.host, fetch.chunk_id, ORIGIN, "unreached", "no way"), cluster.now)
        cluster.now += 1.0
    assert not cluster.said
    assert all(held == {chunk.chunk_id for chunk in CHUNKS} for held in cluster.held.values())
    assert set(tries.values()) == {1}


def test_a_host_that_is_passed_over_is_asked_again_each_time_as_soon_and_costs_the_others_nothing() -> None:
    cluster, moments = Simulation({"lost": "", "slow": ""}), list[float]()
    cluster.want_all()
    while cluster.now < 600.0:
        cluster.take_commands()
        for fetch in list(cluster.under_way):
            if fetch.host == "lost":
                moments.append(cluster.now)
                cluster.under_way.remove(fetch)
                cluster.registry.tell(Failed("lost", fetch.chunk_id, ORIGIN, "unreached", "no way"), cluster.now)
            else:  # reads on, and has nothing yet
                cluster.registry.tell(Alive("slow", (fetch.chunk_id,)), cluster.now)
        cluster.now += 1.0
    assert not cluster.said
    tries = sorted(set(moments))
    assert max(later - sooner for sooner, later in pairwise(tries)) <= LIMITS.unreached_ban_s + 1.0


def test_that_hosts_do_not_reach_the_origin_says_nothing_of_a_chunk() -> None:
    faults = OriginFaults(LIMITS)
    for number in range(10):
        assert faults.failed("s3://models", "c0", "unreached", float(number)) == "patience"
        faults.gave("s3://models", f"other {number}")


def test_the_only_host_that_waits_asks_an_origin_that_it_did_not_reach_again_soon() -> None:
    cluster = Simulation({"one": "", "has all": ""})
    cluster.want_all("one")
    cluster.take_commands()
    for fetch in cluster.under_way:
        cluster.registry.tell(Failed("one", fetch.chunk_id, ORIGIN, "unreached", "no way"), cluster.now)
    cluster.under_way.clear()
    cluster.pass_time(LIMITS.ban_s + 1.0)
    cluster.run()
    assert cluster.now < 10.0
    assert cluster.held["one"] == {chunk.chunk_id for chunk in CHUNKS}


def test_a_reader_of_other_bytes_than_its_neighbours_is_told_so() -> None:
    cluster = Simulation({"one": "", "two": ""})
    cluster.registry.tell(Wants("one", CHUNKS[:1]), 0.0)
    cluster.registry.tell(Got("one", "c0", ORIGIN, 1.0, "aa"), 0.0)
    cluster.registry.tell(Wants("two", CHUNKS[:1]), 0.0)
    cluster.registry.tell(Got("two", "c0", ORIGIN, 1.0, "bb"), 0.0)
    (said,) = [command for command in cluster.registry.commands(0.0) if isinstance(command, Abandoned)]
    assert (said.host, "changed" in said.reason, said.are_doubtful) == ("two", True, True)


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
